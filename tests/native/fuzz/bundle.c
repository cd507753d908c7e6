/* bundle.c - em_bundle_find_head(), and head.bin where it is. Byte 0: RESEAL. The rest is a bundle. */
#include "fuzz.h"

/* Where the records of the directory lead, headers and CRCs are made to say the same as they do. */
static void reseal(uint8_t *data, size_t size)
{
    if (size < 22)
        return;
    uint8_t *end = data + size - 22;
    size_t start = emj_load32(end + 16), at = start, position = 0;
    if (start > size - 22)
        return;
    emj_store32(end + 12, (uint32_t)(size - 22 - start));
    while (at < size - 22 && size - 22 - at >= 46) {
        uint8_t *record = data + at;
        size_t names = (size_t)emj_load16(record + 28) + emj_load16(record + 30), length = emj_load32(record + 20);
        size_t from = (position + 30 + emj_load16(record + 28) + 4 + 63) / 64 * 64;
        if (size - 22 - at - 46 < names || from > start || length > start - from || position + 30 + names > start)
            return;
        emj_store32(record + 16, em_crc32(0, data + from, length));
        emj_store32(record + 24, (uint32_t)length);
        emj_store32(record + 42, (uint32_t)position);
        memcpy(data + position + 4, record + 6, 26);
        memcpy(data + position + 30, record + 46, names);
        position = from + length;
        at += 46 + names;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    em_headbin head;
    size_t offset = 7, length = 7;
    if (size < 1)
        return 0;
    int flags = data[0];
    uint8_t *bytes = fuzz_copy(data + 1, --size);
    if (flags & RESEAL)
        reseal(bytes, size);
    int status = em_bundle_find_head(bytes, size, &offset, &length);
    REQUIRE(status <= 0);
    if (status == EM_OK) {
        REQUIRE(offset <= size && length <= size - offset && offset % EM_ALIGN == 0);
        REQUIRE(em_headbin_read(bytes + offset, length, &head) <= 0);
    } else {
        REQUIRE(offset == 7 && length == 7);
    }
    free(bytes);
    return 0;
}
