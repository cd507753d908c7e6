/* journal_format.c - the bytes of header and records. SPEC.md is the text of it. Nothing here reads a file. */
#include "journal.h"

#define MAGIC "EDGELRND"
#define RECORD_MAGIC "eRec"

int emj_is_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] != 0)
            return 0;
    return 1;
}

uint64_t emj_record_size(uint32_t length)
{
    return EMJ_FRAME + ((uint64_t)length + 4 + 7) / 8 * 8;
}

uint64_t emj_seal_length(uint32_t label_size, uint32_t ranges, uint32_t dim, int moment)
{
    uint64_t sums = dim + (moment ? (uint64_t)dim * (dim + 1) / 2 : 0);
    return EMJ_SEAL + (label_size + 7) / 8 * 8 + (uint64_t)ranges * EMJ_RANGE + sums * 8;
}

/* Also sets the header's seed. */
void emj_header_encode(emj_header *header, uint8_t *out)
{
    memset(out, 0, EMJ_HEADER);
    memcpy(out, MAGIC, 8);
    emj_store16(out + 8, 1);
    emj_store16(out + 10, header->minor);
    emj_store32(out + 12, EMJ_HEADER);
    emj_store32(out + 16, header->dim);
    emj_store32(out + 20, header->is_volatile ? 1 : 0);
    memcpy(out + 24, header->uuid, 16);
    memcpy(out + 40, header->embedding_id, 32);
    memcpy(out + 72, header->place, 16);
    emj_store64(out + 88, header->next);
    emj_store64(out + 96, header->base);
    emj_store64(out + 104, header->salt);
    header->seed = em_crc32(0, out, 124);
    emj_store32(out + 124, header->seed);
}

/* size: how many of the 128 bytes there are. */
int emj_header_decode(const uint8_t *data, size_t size, emj_header *out)
{
    if (size < 10 || memcmp(data, MAGIC, 8) != 0)
        return EM_ERR_DAMAGED;
    if (emj_load16(data + 8) > 1)
        return EM_ERR_VERSION; /* before anything else is looked at: a later version may have its CRC elsewhere */
    if (size < EMJ_HEADER || em_crc32(0, data, 124) != emj_load32(data + 124))
        return EM_ERR_DAMAGED;
    out->minor = emj_load16(data + 10);
    out->dim = emj_load32(data + 16);
    out->is_volatile = (emj_load32(data + 20) & 1) != 0;
    memcpy(out->uuid, data + 24, 16);
    memcpy(out->embedding_id, data + 40, 32);
    memcpy(out->place, data + 72, 16);
    out->next = emj_load64(data + 88);
    out->base = emj_load64(data + 96);
    out->salt = emj_load64(data + 104);
    out->seed = emj_load32(data + 124);
    int known = emj_load16(data + 8) == 1 && emj_load32(data + 12) == EMJ_HEADER && emj_load32(data + 20) <= 1;
    int sane = out->dim >= 1 && out->dim <= EM_MAX_DIM && out->next >= 1 && out->next <= EMJ_MAX_COUNTER &&
               out->base >= EMJ_HEADER && !emj_is_zero(out->uuid, 16);
    return known && sane && emj_is_zero(data + 112, 12) ? EM_OK : EM_ERR_DAMAGED;
}

int emj_frame_decode(const uint8_t *data, uint32_t seed, emj_frame *out)
{
    if (memcmp(data, RECORD_MAGIC, 4) != 0)
        return 0;
    out->kind = emj_load16(data + 4);
    out->flags = emj_load16(data + 6);
    out->length = emj_load32(data + 8);
    out->crc = em_crc32(seed, data, 12);
    return out->crc == emj_load32(data + 12);
}

void emj_commit_encode(const emj_commit *commit, uint8_t *out)
{
    emj_store64(out, commit->number);
    emj_store64(out + 8, commit->undoes);
    emj_store64(out + 16, commit->synced);
    emj_store64(out + 24, commit->start);
    emj_store32(out + 32, commit->records);
    emj_store32(out + 36, commit->flags);
    emj_store32(out + 40, commit->checksum);
    emj_store32(out + 44, 0);
}

void emj_commit_decode(const uint8_t *data, emj_commit *out)
{
    out->number = emj_load64(data);
    out->undoes = emj_load64(data + 8);
    out->synced = emj_load64(data + 16);
    out->start = emj_load64(data + 24);
    out->records = emj_load32(data + 32);
    out->flags = emj_load32(data + 36);
    out->checksum = emj_load32(data + 40);
}

void emj_id_encode(const uint8_t *uuid, uint64_t counter, uint8_t *out)
{
    memcpy(out, uuid, 16);
    emj_store64(out + 16, counter);
}

static int is_id(const uint8_t *data)
{
    uint64_t counter = emj_load64(data + 16);
    return !emj_is_zero(data, 16) && counter >= 1 && counter < EMJ_MAX_COUNTER;
}

static int is_id_or_none(const uint8_t *data)
{
    return emj_is_zero(data, 24) || is_id(data);
}

int emj_range_check(const uint8_t *data)
{
    uint64_t count = emj_load64(data + 24);
    if (!is_id(data) || count < 1 || count > EMJ_MAX_COUNTER - emj_load64(data + 16))
        return EM_ERR_DAMAGED;
    return EM_OK;
}

static void load_id(const uint8_t *data, em_id *out)
{
    memcpy(out->uuid, data, 16);
    out->counter = emj_load64(data + 16);
}

/* Bytes of the input: the product of its axes. More than a payload can have: UINT64_MAX. */
static uint64_t input_size(const uint8_t *axes, uint32_t count)
{
    uint64_t size = count ? 1 : 0;
    for (uint32_t i = 0; i < count; i++) {
        size *= emj_load16(axes + 2 * (size_t)i);
        if (size > UINT32_MAX)
            return UINT64_MAX;
    }
    return size;
}

int emj_example_decode(const uint8_t *data, uint32_t length, uint32_t dim, emj_example *out)
{
    load_id(data, &out->id);
    load_id(data + 24, &out->origin);
    out->has_group = emj_load32(data + 48) & 1;
    out->label_size = emj_load16(data + 56);
    out->group_size = emj_load16(data + 58);
    out->variant_size = emj_load16(data + 60);
    out->axes = data[62];
    out->targets = emj_load32(data + 72);
    out->label = out->group = out->variant = NULL;
    if (!is_id(data) || !is_id_or_none(data + 24) || emj_load32(data + 52) != dim || out->axes > 4)
        return EM_ERR_DAMAGED;
    if (out->label_size < 1 || out->label_size > 255 || out->group_size > 255 || out->variant_size > 255)
        return EM_ERR_DAMAGED;
    if (out->group_size != 0 && !out->has_group)
        return EM_ERR_DAMAGED;
    uint64_t input = input_size(data + 64, out->axes);
    if (input == UINT64_MAX)
        return EM_ERR_DAMAGED;
    out->texts = out->label_size + out->group_size + out->variant_size;
    out->arrays = (EMJ_EXAMPLE + out->texts + 7) / 8 * 8;
    uint64_t total = out->arrays + ((uint64_t)dim * 4 + 7) / 8 * 8 + (uint64_t)out->targets * 8 + input;
    return total == length ? EM_OK : EM_ERR_DAMAGED;
}

/* data: the out->texts bytes after the first 80. */
int emj_example_texts(const uint8_t *data, emj_example *out)
{
    out->label = data;
    out->group = data + out->label_size;
    out->variant = out->group + out->group_size;
    int right = emj_is_utf8(out->label, out->label_size) && emj_is_utf8(out->group, out->group_size) &&
                emj_is_utf8(out->variant, out->variant_size);
    return right ? EM_OK : EM_ERR_DAMAGED;
}

int emj_seal_decode(const uint8_t *data, uint32_t length, uint32_t dim, emj_seal_head *out)
{
    out->moment = emj_load32(data + 24) & 1;
    out->label_size = emj_load16(data + 32);
    out->ranges = emj_load32(data + 36);
    out->count = emj_load64(data + 40);
    if (!is_id_or_none(data) || emj_load32(data + 28) != dim || out->label_size < 1 || out->label_size > 255)
        return EM_ERR_DAMAGED;
    uint64_t at = EMJ_SEAL + (out->label_size + 7) / 8 * 8, end = at + (uint64_t)out->ranges * EMJ_RANGE;
    uint64_t sums = dim + (out->moment ? (uint64_t)dim * (dim + 1) / 2 : 0);
    if (out->ranges == 0 || end + sums * 8 != length)
        return EM_ERR_DAMAGED;
    out->at = (uint32_t)at;
    out->end = (uint32_t)end;
    return EM_OK;
}
