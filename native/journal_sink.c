/* journal_sink.c - writing records through a buffer of one size, to the end of the file or to a new one.
 *
 * The first failure is kept; whatever comes after it does nothing. */
#include "journal.h"

void emj_sink_flush(emj_sink *sink)
{
    if (sink->status == EM_OK && sink->fill != 0 && sink->write(sink->to, sink->buffer, sink->fill) != 0)
        sink->status = EM_ERR_IO;
    sink->fill = 0;
}

void emj_sink_bytes(emj_sink *sink, const void *data, size_t size)
{
    const uint8_t *from = data;
    sink->offset += size;
    while (size > 0 && sink->status == EM_OK) {
        size_t part = EMJ_BUFFER - sink->fill < size ? EMJ_BUFFER - sink->fill : size;
        memcpy(sink->buffer + sink->fill, from, part);
        sink->fill += part;
        from += part;
        size -= part;
        if (sink->fill == EMJ_BUFFER)
            emj_sink_flush(sink);
    }
}

static void begin(emj_sink *sink, uint32_t kind, uint32_t flags, uint32_t length)
{
    uint8_t frame[EMJ_FRAME] = {'e', 'R', 'e', 'c'};
    emj_store16(frame + 4, kind);
    emj_store16(frame + 6, flags);
    emj_store32(frame + 8, length);
    sink->crc = em_crc32(sink->seed, frame, 12);
    sink->length = length;
    emj_store32(frame + 12, sink->crc);
    emj_sink_bytes(sink, frame, sizeof frame);
}

void emj_sink_begin(emj_sink *sink, uint32_t kind, uint32_t length)
{
    begin(sink, kind, 0, length);
}

void emj_sink_put(emj_sink *sink, const void *data, size_t size)
{
    if (size == 0)
        return;
    sink->crc = em_crc32(sink->crc, data, size);
    emj_sink_bytes(sink, data, size);
}

void emj_sink_end(emj_sink *sink)
{
    static const uint8_t zeros[8] = {0};
    uint8_t crc[4];
    emj_sink_put(sink, zeros, (size_t)(emj_record_size(sink->length) - EMJ_FRAME - 4 - sink->length));
    emj_store32(crc, sink->crc);
    emj_sink_bytes(sink, crc, 4);
    sink->checksum = em_crc32(sink->checksum, crc, 4);
    sink->records++;
}

void emj_sink_record(emj_sink *sink, uint32_t kind, const uint8_t *payload, uint32_t length)
{
    emj_sink_begin(sink, kind, length);
    emj_sink_put(sink, payload, length);
    emj_sink_end(sink);
}

void emj_sink_filler(emj_sink *sink, uint64_t size)
{
    static const uint8_t erased[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    if (size == 0)
        return;
    uint32_t length = (uint32_t)size - EMJ_FRAME - 8;
    begin(sink, EMJ_IS_FILLER, 1, length);
    for (uint32_t i = 0; i < length; i += 8)
        emj_sink_put(sink, erased, 8);
    emj_sink_end(sink);
}

void emj_sink_ranges(emj_sink *sink, const emj_ranges *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        const emj_range *each = &set->items[i];
        uint8_t payload[EMJ_RANGE];
        emj_id_encode(set->uuids[each->uuid].bytes, each->first, payload);
        emj_store64(payload + 24, each->end - each->first);
        emj_sink_record(sink, EMJ_IS_TOMBSTONE, payload, EMJ_RANGE);
    }
}

/* Records and checksum of the commit are filled in here. */
void emj_sink_commit(emj_sink *sink, emj_commit *commit)
{
    uint8_t payload[EMJ_COMMIT];
    commit->records = sink->records;
    commit->checksum = sink->checksum;
    emj_commit_encode(commit, payload);
    emj_sink_record(sink, EMJ_IS_COMMIT, payload, EMJ_COMMIT);
    emj_sink_flush(sink);
}

/* The bytes [at, end) of the file, through its buffer; returns their CRC from `crc` on. */
static uint32_t copy_bytes(emj_sink *sink, emj_source *source, uint64_t at, uint64_t end, uint32_t crc)
{
    while (at < end && sink->status == EM_OK) {
        const uint8_t *data;
        size_t size = end - at < EMJ_BUFFER ? (size_t)(end - at) : EMJ_BUFFER;
        int status = emj_bytes(source, at, size, &data);
        if (status < 0) {
            sink->status = status;
            return crc;
        }
        crc = em_crc32(crc, data, size);
        emj_sink_put(sink, data, size);
        at += size;
    }
    return crc;
}

void emj_sink_copy(emj_sink *sink, emj_source *source, uint64_t offset, uint32_t kind, const uint8_t *new_id)
{
    emj_record record;
    const uint8_t *data;
    int found = sink->status == EM_OK ? emj_read_frame(source, offset, &record) : sink->status;
    if (found < 0 || !found || record.frame.kind != kind || (new_id && record.frame.length < EMJ_EXAMPLE)) {
        sink->status = found < 0 ? found : EM_ERR_DAMAGED;
        return;
    }
    uint64_t at = offset + EMJ_FRAME, padding = at + record.frame.length;
    uint32_t crc = record.frame.crc;
    emj_sink_begin(sink, kind, record.frame.length);
    if (new_id) {
        int status = emj_bytes(source, at, 48, &data);
        if (status < 0) {
            sink->status = status;
            return;
        }
        crc = em_crc32(crc, data, 48);
        emj_sink_put(sink, new_id, 24);
        emj_sink_put(sink, data, 24);
        at += 48;
    }
    crc = copy_bytes(sink, source, at, padding, crc);
    emj_sink_end(sink);
    /* What was read is looked at last: if it is damaged, the caller takes back what was written. */
    size_t rest = (size_t)(record.end - padding);
    int status = emj_bytes(source, padding, rest, &data);
    if (status == EM_OK && emj_load32(data + rest - 4) != em_crc32(crc, data, rest - 4))
        status = EM_ERR_DAMAGED;
    if (status < 0 && sink->status == EM_OK)
        sink->status = status;
}
