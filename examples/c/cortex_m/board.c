/* board.c - start-up of a Cortex-M with its floating point unit, and semihosting. No C library. */
#include "board.h"

extern uint32_t data_begin[], data_end[], data_source[], bss_begin[], bss_end[], stack_begin[], stack_end[];

int main(void);

#define CPACR (*(volatile uint32_t *)0xe000ed88u) /* coprocessor access control */
#define PAINT 0xa5a5a5a5u

void start(void)
{
    CPACR |= 0xfu << 20; /* CP10 and CP11: the floating point unit */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    for (uint32_t *to = data_begin, *from = data_source; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_begin; to < bss_end;)
        *to++ = 0;
    for (volatile uint32_t *to = stack_begin; (uintptr_t)to < (uintptr_t)__builtin_frame_address(0) - 64u;)
        *to++ = PAINT;
    finish(main());
}

size_t stack_used(void)
{
    const uint32_t *at = stack_begin;
    while (at < stack_end && *at == PAINT)
        at++;
    return (size_t)(stack_end - at) * sizeof *at;
}

static void failed(void)
{
    say("a fault of the processor\n");
    finish(1);
}

/* The stack, then reset, NMI, and four faults; nothing here uses interrupts. */
static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors __attribute__((section(".vectors"), used)) = {stack_end, {start, failed, failed, failed, failed, failed}};

/* ---- semihosting ------------------------------------------------------------------------------------------------ */

enum operation { OPEN = 0x01, CLOSE = 0x02, WRITE0 = 0x04, WRITE = 0x05, READ = 0x06, LENGTH = 0x0c };
enum more_operations { CLOCK = 0x10, TIME = 0x11, EXIT = 0x20 };
enum mode { READ_BINARY = 1, WRITE_BINARY = 5 };

static uint32_t call_host(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void say(const char *text)
{
    call_host(WRITE0, text);
}

void say_number(uint32_t number)
{
    char digits[11];
    size_t at = sizeof digits;
    digits[--at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10u);
        number /= 10u;
    } while (number != 0);
    say(digits + at);
}

static int32_t open_file(const char *file, uint32_t mode)
{
    uint32_t size = 0;
    while (file[size] != '\0')
        size++;
    const uint32_t what[3] = {(uint32_t)(uintptr_t)file, mode, size};
    return (int32_t)call_host(OPEN, what);
}

/* READ and WRITE return how many bytes are missing. */
static int transfer(uint32_t operation, int32_t handle, const void *data, size_t size)
{
    const uint32_t what[3] = {(uint32_t)handle, (uint32_t)(uintptr_t)data, (uint32_t)size};
    uint32_t missing = size > 0 ? call_host(operation, what) : 0;
    const uint32_t closing[1] = {(uint32_t)handle};
    call_host(CLOSE, closing);
    return missing == 0 ? 0 : -1;
}

int host_read(const char *file, void *data, size_t room, size_t *size)
{
    int32_t handle = open_file(file, READ_BINARY);
    const uint32_t what[1] = {(uint32_t)handle};
    if (handle < 0)
        return -1;
    *size = call_host(LENGTH, what);
    if (*size > room) {
        call_host(CLOSE, what);
        return -1;
    }
    return transfer(READ, handle, data, *size);
}

int host_write(const char *file, const void *data, size_t size)
{
    int32_t handle = open_file(file, WRITE_BINARY);
    return handle < 0 ? -1 : transfer(WRITE, handle, data, size);
}

uint64_t host_clock(void)
{
    return (uint64_t)call_host(TIME, NULL) << 32 | call_host(CLOCK, NULL);
}

void finish(int status)
{
    const uint32_t why[2] = {0x20026, (uint32_t)status}; /* ADP_Stopped_ApplicationExit */
    call_host(EXIT, why);
    for (;;) {
    }
}

/* ---- the four functions of a C library that compilers and the core call ----------------------------------------- */

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    if ((uintptr_t)to <= (uintptr_t)from)
        return memcpy(to, from, size);
    while (size-- > 0)
        ((uint8_t *)to)[size] = ((const uint8_t *)from)[size];
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (uint8_t)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((const uint8_t *)a)[i] != ((const uint8_t *)b)[i])
            return ((const uint8_t *)a)[i] - ((const uint8_t *)b)[i];
    return 0;
}
