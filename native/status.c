/* status.c - names of errors, and lengths of memory that cannot overflow. */
#include "internal.h"

const char *em_status_name(int status)
{
    static const char *const names[] = {
        "EM_OK",           "EM_ERR_NULL", "EM_ERR_SIZE",      "EM_ERR_VALUE",    "EM_ERR_MEMORY",
        "EM_ERR_STATE",    "EM_ERR_FULL", "EM_ERR_NOT_FOUND", "EM_ERR_SINGULAR", "EM_ERR_IO",
        "EM_ERR_DAMAGED",  "EM_ERR_VERSION", "EM_ERR_MISMATCH", "EM_ERR_UNSUPPORTED",
    };
    if (status > 0 || status <= -(int)(sizeof names / sizeof names[0]))
        return "EM_ERR_UNKNOWN";
    return names[-status];
}

size_t em_times(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

size_t em_plus(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

size_t em_aligned(size_t size)
{
    return size > SIZE_MAX - EM_ALIGN ? SIZE_MAX : (size + EM_ALIGN - 1) / EM_ALIGN * EM_ALIGN;
}

int em_check_memory(const void *memory, size_t size, size_t needed)
{
    if (memory == NULL)
        return EM_ERR_NULL;
    if (needed == 0 || needed == SIZE_MAX || size < needed || (uintptr_t)memory % EM_ALIGN != 0)
        return EM_ERR_MEMORY;
    return EM_OK;
}
