/* journal_source.c - reading a journal through a buffer of one size, never past the length that it had.
 *
 * * A length in the file is followed only when the CRC of its frame is right, and never past the end, so that no
 * damaged or hostile file makes anything large be read. */
#include "journal.h"

static int fill(emj_source *source, uint64_t offset)
{
    uint64_t left = source->limit - offset;
    size_t size = left < EMJ_BUFFER ? (size_t)left : EMJ_BUFFER;
    source->size = 0; /* a read that fails may leave anything there */
    if (source->store->read(source->store->user, offset, source->buffer, size) != 0)
        return EM_ERR_IO;
    source->at = offset;
    source->size = size;
    return EM_OK;
}

int emj_get(emj_source *source, uint64_t offset, size_t size, const uint8_t **out)
{
    if (offset > source->limit || size > source->limit - offset || size > EMJ_BUFFER)
        return 0;
    if (offset < source->at || offset - source->at > source->size || size > source->size - (offset - source->at)) {
        int status = fill(source, offset);
        if (status < 0)
            return status;
    }
    *out = source->buffer + (offset - source->at);
    return 1;
}

int emj_bytes(emj_source *source, uint64_t offset, size_t size, const uint8_t **out)
{
    int found = emj_get(source, offset, size, out);
    return found < 0 ? found : found ? EM_OK : EM_ERR_DAMAGED;
}

int emj_copy(emj_source *source, uint64_t offset, void *out, uint64_t size)
{
    if (offset > source->limit || size > source->limit - offset || size > SIZE_MAX)
        return EM_ERR_DAMAGED;
    if (source->store->read(source->store->user, offset, out, (size_t)size) != 0)
        return EM_ERR_IO;
    return EM_OK;
}

int emj_read_frame(emj_source *source, uint64_t offset, emj_record *out)
{
    const uint8_t *data;
    int found = emj_get(source, offset, EMJ_FRAME, &data);
    if (found <= 0)
        return found;
    if (!emj_frame_decode(data, source->seed, &out->frame))
        return 0;
    uint64_t size = emj_record_size(out->frame.length);
    if (size > source->limit - offset)
        return 0;
    out->offset = offset;
    out->end = offset + size;
    return 1;
}

int emj_check_body(emj_source *source, const emj_record *record, uint32_t *crc)
{
    uint64_t at = record->offset + EMJ_FRAME, end = record->end - 4;
    const uint8_t *data;
    uint32_t sum = record->frame.crc;
    while (at < end) {
        size_t size = end - at < EMJ_BUFFER ? (size_t)(end - at) : EMJ_BUFFER;
        if (at >= source->at && at - source->at < source->size && size > source->size - (at - source->at))
            size = (size_t)(source->size - (at - source->at)); /* what is in the buffer already */
        int status = emj_bytes(source, at, size, &data);
        if (status < 0)
            return status;
        sum = em_crc32(sum, data, size);
        at += size;
    }
    int status = emj_bytes(source, end, 4, &data);
    if (status < 0)
        return status;
    *crc = sum;
    return emj_load32(data) == sum;
}

int emj_find_magic(emj_source *source, uint64_t *offset)
{
    const uint8_t *data;
    for (;;) {
        int found = emj_get(source, *offset, 4, &data);
        if (found <= 0)
            return found;
        if (memcmp(data, "eRec", 4) == 0)
            return 1;
        *offset += 8;
    }
}

int emj_expect(emj_source *source, uint64_t offset, uint32_t kind, emj_record *out)
{
    uint32_t crc;
    int found = emj_read_frame(source, offset, out);
    if (found > 0)
        found = out->frame.kind == kind ? emj_check_body(source, out, &crc) : 0;
    return found < 0 ? found : found ? EM_OK : EM_ERR_DAMAGED;
}

int emj_read_example(emj_source *source, const emj_record *record, uint32_t dim, emj_example *out)
{
    const uint8_t *data;
    if (record->frame.length < EMJ_EXAMPLE)
        return EM_ERR_DAMAGED;
    int status = emj_bytes(source, record->offset + EMJ_FRAME, EMJ_EXAMPLE, &data);
    if (status == EM_OK)
        status = emj_example_decode(data, record->frame.length, dim, out);
    if (status == EM_OK)
        status = emj_bytes(source, record->offset + EMJ_FRAME + EMJ_EXAMPLE, out->texts, &data);
    return status == EM_OK ? emj_example_texts(data, out) : status;
}

int emj_read_seal(emj_source *source, const emj_record *record, uint32_t dim, emj_seal_head *out, const uint8_t **data)
{
    if (record->frame.length < EMJ_SEAL)
        return EM_ERR_DAMAGED;
    int status = emj_bytes(source, record->offset + EMJ_FRAME, EMJ_SEAL, data);
    return status < 0 ? status : emj_seal_decode(*data, record->frame.length, dim, out);
}

int emj_check_embedding(emj_source *source, uint64_t at, uint64_t size)
{
    while (size > 0) {
        const uint8_t *data;
        size_t part = size < EMJ_BUFFER ? (size_t)size : EMJ_BUFFER;
        int status = emj_bytes(source, at, part, &data);
        if (status < 0)
            return status;
        for (size_t i = 0; i < part; i += 4) {
            int32_t value = emj_signed(emj_load32(data + i));
            if (value > EM_Q20 || value < -EM_Q20)
                return EM_ERR_DAMAGED;
        }
        at += part;
        size -= part;
    }
    return EM_OK;
}

int emj_read_numbers(emj_source *source, uint64_t at, uint64_t count, double *out)
{
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *data;
        int status = emj_bytes(source, at + 8 * i, 8, &data);
        double value = status == EM_OK ? emj_double(emj_load64(data)) : 0;
        if (status < 0 || !emj_finite(value))
            return status < 0 ? status : EM_ERR_DAMAGED;
        if (out != NULL)
            out[i] = value;
    }
    return EM_OK;
}

int emj_compare(emj_source *a, uint64_t a_at, emj_source *b, uint64_t b_at, uint64_t size)
{
    while (size > 0) {
        const uint8_t *mine, *theirs;
        size_t part = size < EMJ_BUFFER ? (size_t)size : EMJ_BUFFER;
        int status = emj_bytes(a, a_at, part, &mine);
        if (status == EM_OK)
            status = emj_bytes(b, b_at, part, &theirs);
        if (status == EM_OK && memcmp(mine, theirs, part) != 0)
            status = EM_ERR_VALUE;
        if (status < 0)
            return status;
        a_at += part;
        b_at += part;
        size -= part;
    }
    return EM_OK;
}
