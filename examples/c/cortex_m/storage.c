/* storage.c - a journal's bytes in memory that outlives the power. What a board must bring for a journal is these seven
 * callbacks. */
#include "storage.h"

#include "board.h"

#include <string.h>

static struct {
    uint8_t halves[2][STORAGE_BYTES];
    uint32_t sizes[2];
    uint32_t active; /* one word, written last: all or nothing */
} memory __attribute__((section(".storage")));

void storage_from(const char *file)
{
    size_t size = 0;
    memset(&memory, 0, sizeof memory); /* a real one holds what it held */
    if (host_read(file, memory.halves[0], STORAGE_BYTES, &size) == 0)
        memory.sizes[0] = (uint32_t)size;
}

int storage_to(const char *file)
{
    return host_write(file, memory.halves[memory.active], memory.sizes[memory.active]);
}

static int store_size(void *user, uint64_t *size)
{
    (void)user;
    *size = memory.sizes[memory.active];
    return *size == 0 ? EM_ERR_NOT_FOUND : EM_OK;
}

static int store_read(void *user, uint64_t offset, void *data, size_t size)
{
    (void)user;
    memcpy(data, memory.halves[memory.active] + (size_t)offset, size);
    return EM_OK;
}

static int put(uint32_t half, const void *data, size_t size)
{
    if (size > STORAGE_BYTES - memory.sizes[half])
        return EM_ERR_IO; /* full: compacting may help, or forgetting first */
    memcpy(memory.halves[half] + memory.sizes[half], data, size);
    memory.sizes[half] += (uint32_t)size;
    return EM_OK;
}

static int store_append(void *user, uint64_t offset, const void *data, size_t size)
{
    (void)user, (void)offset;
    return put(memory.active, data, size);
}

static int store_sync(void *user)
{
    (void)user;
    return EM_OK; /* what is written is there */
}

static int store_truncate(void *user, uint64_t size)
{
    (void)user;
    memory.sizes[memory.active] = (uint32_t)size;
    return EM_OK;
}

static int write_other(void *sink, const void *data, size_t size)
{
    return put(*(const uint32_t *)sink, data, size);
}

static int store_replace(void *user, em_make make, void *maker)
{
    static const uint8_t nowhere[16];
    uint32_t other = 1u - memory.active;
    int status;
    (void)user;
    memory.sizes[other] = 0;
    status = make(maker, nowhere, write_other, &other);
    if (status >= 0)
        memory.active = other;
    return status;
}

/* A board with a generator of random numbers asks that. The clock must do here: two boards that make their first journal
 * in the same moment would give the same ids, and could not merge. */
static int store_random(void *user, void *data, size_t size)
{
    static uint64_t state;
    (void)user;
    for (size_t i = 0; i < size; i++) {
        uint64_t x = state += 0x9e3779b97f4a7c15u + host_clock();
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        ((uint8_t *)data)[i] = (uint8_t)(x >> 56);
    }
    return EM_OK;
}

em_store storage_open(void)
{
    em_store store = {.size = store_size, .read = store_read, .append = store_append, .sync = store_sync,
                      .truncate = store_truncate, .replace = store_replace, .random = store_random};
    return store;
}
