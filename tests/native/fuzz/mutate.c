/* mutate.c - half of the mutations of a journal are of whole records: gone, doubled, moved, or changed inside. libFuzzer
 * alone does the other half. Not part of the replay. */
#include "fuzz.h"

#define RECORDS 64u

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

/* Where records begin, behind the two or three bytes before the journal. */
static size_t find_records(const uint8_t *data, size_t size, size_t *starts)
{
    size_t count = 0;
    for (size_t at = 0; size - at >= EMJ_FRAME && count < RECORDS; at++)
        if (memcmp(data + at, "eRec", 4) == 0)
            starts[count++] = at;
    return count;
}

static size_t length_at(const uint8_t *data, size_t size, size_t at)
{
    uint64_t length = emj_record_size(emj_load32(data + at + 8));
    return length > size - at ? size - at : (size_t)length;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    size_t starts[RECORDS], count = size >= EMJ_FRAME ? find_records(data, size, starts) : 0;
    if (count < 2 || seed % 8 < 4)
        return LLVMFuzzerMutate(data, size, most);
    size_t from = starts[seed / 8 % count], to = starts[seed / 512 % count], length = length_at(data, size, from);
    if (seed % 8 == 4) {
        memmove(data + from, data + from + length, size - from - length);
        return size - length;
    }
    if (seed % 8 == 5 && size + length <= most) {
        uint8_t *copy = fuzz_copy(data + from, length);
        memmove(data + to + length, data + to, size - to);
        memcpy(data + to, copy, length);
        free(copy);
        return size + length;
    }
    if (length > EMJ_FRAME) /* of the same length: what stands behind stays whole */
        (void)LLVMFuzzerMutate(data + from + EMJ_FRAME, length - EMJ_FRAME, length - EMJ_FRAME);
    return size;
}
