/* journal_put.c - the records of what a draft adds: examples and seals, from the caller, from the file or from another
 * journal. Ids are given out here, in the order of the bytes. */
#include "journal.h"

static const uint8_t zeros[8] = {0};

/* ---- examples ---------------------------------------------------------------------------------------------------- */

static void put_text(emj_sink *sink, const char *text, size_t size)
{
    if (size != 0)
        emj_sink_put(sink, text, size);
}

static void put_numbers(emj_sink *sink, const em_example *example, uint32_t dim)
{
    uint8_t number[8];
    for (uint32_t i = 0; i < dim; i++) {
        emj_store32(number, (uint32_t)example->q20[i]);
        emj_sink_put(sink, number, 4);
    }
    emj_sink_put(sink, zeros, dim % 2 ? 4 : 0);
    for (uint32_t i = 0; example->target != NULL && i < example->targets; i++) {
        emj_store64(number, emj_bits(example->target[i]));
        emj_sink_put(sink, number, 8);
    }
}

/* An example that the caller gives; `length` of its payload was worked out when it was staged. */
static void put_example(emj_sink *sink, const em_example *example, const uint8_t *id, uint32_t length, uint32_t dim)
{
    uint8_t head[EMJ_EXAMPLE] = {0};
    size_t label = emj_length(example->label), group = example->group ? emj_length(example->group) : 0;
    size_t variant = example->variant ? emj_length(example->variant) : 0;
    memcpy(head, id, 24);
    emj_store32(head + 48, example->group ? 1 : 0);
    emj_store32(head + 52, dim);
    emj_store16(head + 56, (uint32_t)label);
    emj_store16(head + 58, (uint32_t)group);
    emj_store16(head + 60, (uint32_t)variant);
    emj_store32(head + 72, example->target ? example->targets : 0);
    emj_sink_begin(sink, EMJ_IS_EXAMPLE, length);
    emj_sink_put(sink, head, sizeof head);
    put_text(sink, example->label, label);
    put_text(sink, example->group, group);
    put_text(sink, example->variant, variant);
    emj_sink_put(sink, zeros, (8 - (label + group + variant) % 8) % 8);
    put_numbers(sink, example, dim);
    emj_sink_end(sink);
}

/* The bytes [at, at + size) of the file as they are. */
static int put_bytes(emj_sink *sink, emj_source *source, uint64_t at, uint64_t size)
{
    while (size > 0 && sink->status == EM_OK) {
        const uint8_t *data;
        size_t part = size < EMJ_BUFFER ? (size_t)size : EMJ_BUFFER;
        int status = emj_bytes(source, at, part, &data);
        if (status < 0)
            return status;
        emj_sink_put(sink, data, part);
        at += part;
        size -= part;
    }
    return EM_OK;
}

/* An example of the file under another id and label, with the old id as its origin. */
static int put_relabelled(em_journal *journal, emj_sink *sink, const emj_live *each, const char *label,
                          const uint8_t *id)
{
    emj_source *source = &journal->source;
    emj_record record;
    emj_example old;
    uint8_t head[EMJ_EXAMPLE];
    int status = emj_expect(source, each->offset, EMJ_IS_EXAMPLE, &record);
    if (status == EM_OK)
        status = emj_read_example(source, &record, journal->header.dim, &old);
    uint64_t at = record.offset + EMJ_FRAME;
    if (status == EM_OK)
        status = emj_copy(source, at, head, sizeof head);
    if (status < 0)
        return status;
    size_t size = emj_length(label), kept = old.group_size + old.variant_size;
    memcpy(head + 24, head, 24);
    memcpy(head, id, 24);
    emj_store32(head + 48, old.has_group);
    emj_store16(head + 56, (uint32_t)size);
    emj_sink_begin(sink, EMJ_IS_EXAMPLE, each->length);
    emj_sink_put(sink, head, sizeof head);
    emj_sink_put(sink, label, size);
    status = put_bytes(sink, source, at + EMJ_EXAMPLE + old.label_size, kept);
    emj_sink_put(sink, zeros, (8 - (size + kept) % 8) % 8);
    if (status == EM_OK)
        status = put_bytes(sink, source, at + old.arrays, record.frame.length - old.arrays);
    emj_sink_end(sink);
    return status;
}

static void put_one(em_journal *journal, emj_draft *draft, emj_sink *sink, uint32_t index)
{
    const emj_live *each = &journal->live[journal->live_count + index];
    uint8_t id[24];
    emj_id_encode(journal->uuids[draft->uuid].bytes, draft->next, id);
    if (draft->examples) {
        put_example(sink, &draft->examples[index], id, each->length, journal->header.dim);
    } else if (draft->label) {
        int status = put_relabelled(journal, sink, each, draft->label, id);
        if (status < 0 && sink->status == EM_OK)
            sink->status = status;
    } else if (draft->other) {
        emj_sink_copy(sink, &draft->other->source, each->offset, EMJ_IS_EXAMPLE, NULL);
    } else {
        emj_sink_copy(sink, &journal->source, each->offset, EMJ_IS_EXAMPLE, id);
    }
}

void emj_put_examples(em_journal *journal, emj_draft *draft, emj_sink *sink)
{
    for (uint32_t i = 0; i < draft->staged && sink->status == EM_OK; i++) {
        emj_live *each = &journal->live[journal->live_count + i];
        uint64_t offset = sink->offset;
        put_one(journal, draft, sink, i);
        each->offset = offset;
        each->mark = 0;
        if (draft->other == NULL) {
            each->uuid = draft->uuid;
            each->counter = draft->next++;
        }
    }
}

/* ---- seals ------------------------------------------------------------------------------------------------------- */

void emj_put_seal_head(em_journal *journal, emj_sink *sink, const emj_seal *seal, const uint8_t *origin)
{
    const emj_class *of_class = &journal->classes[seal->of_class];
    uint8_t head[EMJ_SEAL] = {0};
    memcpy(head, origin, 24);
    emj_store32(head + 24, seal->moment);
    emj_store32(head + 28, journal->header.dim);
    emj_store16(head + 32, of_class->size);
    emj_store32(head + 36, seal->ranges);
    emj_store64(head + 40, seal->count);
    emj_sink_begin(sink, EMJ_IS_SEAL, seal->length);
    emj_sink_put(sink, head, sizeof head);
    emj_sink_put(sink, emj_label_of(journal, seal->of_class), of_class->size);
    emj_sink_put(sink, zeros, (8 - of_class->size % 8) % 8);
    for (uint32_t i = 0; i < seal->ranges; i++) {
        const emj_range *part = &journal->pool[seal->first_range + i];
        uint8_t payload[EMJ_RANGE];
        emj_id_encode(journal->uuids[part->uuid].bytes, part->first, payload);
        emj_store64(payload + 24, part->end - part->first);
        emj_sink_put(sink, payload, sizeof payload);
    }
}

/* A seal with the sums of the one at seal->offset in `source`. restored: with the first id of that as its origin, else
 * with that one's origin. */
static int put_seal(em_journal *journal, emj_sink *sink, emj_source *source, const emj_seal *seal, int restored)
{
    emj_record record;
    emj_seal_head head;
    const uint8_t *data;
    uint8_t origin[24];
    uint64_t dim = journal->header.dim, sums = dim + (seal->moment ? dim * (dim + 1) / 2 : 0);
    int status = emj_expect(source, seal->offset, EMJ_IS_SEAL, &record);
    if (status == EM_OK)
        status = emj_read_seal(source, &record, journal->header.dim, &head, &data);
    if (status == EM_OK && head.moment != seal->moment)
        status = EM_ERR_DAMAGED;
    uint64_t at = record.offset + EMJ_FRAME;
    if (status == EM_OK)
        status = emj_read_numbers(source, at + head.end, sums, NULL);
    if (status == EM_OK)
        status = emj_copy(source, restored ? at + head.at : at, origin, sizeof origin);
    if (status < 0)
        return status;
    emj_put_seal_head(journal, sink, seal, origin);
    status = put_bytes(sink, source, at + head.end, sums * 8);
    emj_sink_end(sink);
    return status;
}

void emj_put_seals(em_journal *journal, emj_draft *draft, emj_sink *sink)
{
    for (uint32_t i = 0; i < journal->staged_seals && sink->status == EM_OK; i++) {
        emj_seal *each = &journal->seals[journal->seal_count + i];
        emj_source *source = draft->other ? &draft->other->source : &journal->source;
        uint64_t offset = sink->offset;
        if (draft->other == NULL) {
            /* The ids it held are forgotten for ever; as many new ones stand for the same examples. */
            emj_range *held = &journal->pool[each->first_range];
            held->uuid = draft->uuid;
            held->first = draft->next;
            held->end = draft->next += each->count;
            held->rank = 0;
        }
        int status = put_seal(journal, sink, source, each, draft->other == NULL);
        if (status < 0 && sink->status == EM_OK)
            sink->status = status;
        each->offset = offset;
    }
}
