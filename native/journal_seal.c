/* journal_seal.c - sealing: examples of a class into their sums, in the place of the examples and of earlier seals. */
#include "journal.h"

static uint64_t sums_of(const em_journal *journal, int moment)
{
    uint64_t dim = journal->header.dim;
    return dim + (moment ? dim * (dim + 1) / 2 : 0);
}

size_t em_journal_seal_size(const em_journal *journal, int moment)
{
    if (journal == NULL)
        return 0;
    /* An earlier seal may have the moment. */
    for (uint32_t i = 0; i < journal->seal_count; i++)
        moment |= (int)journal->seals[i].moment;
    uint64_t numbers = sums_of(journal, moment) + ((uint64_t)journal->header.dim + 1) / 2;
    return numbers > SIZE_MAX / 8 ? SIZE_MAX : (size_t)numbers * 8;
}

/* Mark the examples. EM_ERR_NOT_FOUND for one that is not there, or of another class. */
static int mark_examples(em_journal *journal, const em_id *ids, uint32_t count, emj_sealing *sealing)
{
    for (uint32_t i = 0; i < journal->live_count; i++)
        journal->live[i].mark = 0;
    for (uint32_t i = 0; i < count; i++) {
        int index = em_journal_find(journal, &ids[i]);
        if (index < 0 || journal->live[index].of_class != sealing->of_class)
            return EM_ERR_NOT_FOUND;
        sealing->examples += !journal->live[index].mark;
        journal->live[index].mark = 1;
    }
    return EM_OK;
}

static int is_earlier(const emj_seal *seal, const emj_sealing *sealing)
{
    return seal->of_class == sealing->of_class && seal->moment == sealing->moment;
}

/* All ids to the pool's tail, in the order in which they are named, runs that touch as one. */
static int gather_ranges(em_journal *journal, const em_id *ids, uint32_t count, emj_sealing *sealing)
{
    emj_ranges held = {emj_pool_tail(journal), journal->uuids, 0, emj_pool_room(journal), 0, 1};
    int status = EM_OK;
    emj_ranges_clear(&held, journal->uuid_count);
    for (uint32_t i = 0; status == EM_OK && i < count; i++) {
        const emj_live *each = &journal->live[em_journal_find(journal, &ids[i])];
        status = emj_ranges_add(&held, each->uuid, each->counter, each->counter + 1);
    }
    for (uint32_t i = 0; i < journal->seal_count; i++) {
        const emj_seal *seal = &journal->seals[i];
        for (uint32_t k = 0; status == EM_OK && is_earlier(seal, sealing) && k < seal->ranges; k++) {
            const emj_range *part = &journal->pool[seal->first_range + k];
            status = emj_ranges_add(&held, part->uuid, part->first, part->end);
        }
    }
    sealing->ranges = held.count;
    for (uint32_t i = 0; i < held.count; i++)
        held.items[i].rank = 0;
    return status;
}

/* Bytes of the records that the seal takes the place of. */
static uint64_t old_size(const em_journal *journal, emj_sealing *sealing)
{
    uint64_t size = 0;
    sealing->count = sealing->examples;
    for (uint32_t i = 0; i < journal->live_count; i++)
        if (journal->live[i].mark)
            size += emj_record_size(journal->live[i].length);
    for (uint32_t i = 0; i < journal->seal_count; i++) {
        if (!is_earlier(&journal->seals[i], sealing))
            continue;
        size += emj_record_size(journal->seals[i].length);
        sealing->count += journal->seals[i].count;
    }
    return size;
}

/* n, s = sum z and G = sum z z^T add, exactly so far as sums are exact (DESIGN.md, "Statistics add exactly"). */
static void add_example(double *sums, const int32_t *q20, uint32_t dim, int moment)
{
    double *packed = sums + dim;
    for (uint32_t i = 0; i < dim; i++)
        sums[i] += (double)q20[i] / EM_Q20;
    for (uint32_t i = 0; moment && i < dim; i++) {
        double z = (double)q20[i] / EM_Q20;
        for (uint32_t k = i; k < dim; k++)
            packed[k - i] += z * ((double)q20[k] / EM_Q20);
        packed += dim - i;
    }
}

static int add_seal(em_journal *journal, const emj_seal *seal, double *sums)
{
    emj_record record;
    const uint8_t *data;
    uint64_t count = sums_of(journal, (int)seal->moment);
    int status = emj_expect(&journal->source, seal->offset, EMJ_IS_SEAL, &record);
    if (status < 0 || record.frame.length != seal->length)
        return status < 0 ? status : EM_ERR_DAMAGED;
    uint64_t at = record.offset + EMJ_FRAME + seal->length - 8 * count;
    for (uint64_t i = 0; i < count; i++) {
        status = emj_bytes(&journal->source, at + 8 * i, 8, &data);
        double value = status == EM_OK ? emj_double(emj_load64(data)) : 0;
        if (status < 0 || !emj_finite(value))
            return status < 0 ? status : EM_ERR_DAMAGED;
        sums[i] += value;
    }
    return EM_OK;
}

static int add_up(em_journal *journal, const emj_sealing *sealing, double *sums, int32_t *q20)
{
    int status = EM_OK;
    journal->source.size = 0; /* what is on the disk now counts */
    for (uint64_t i = 0; i < sums_of(journal, (int)sealing->moment); i++)
        sums[i] = 0;
    for (uint32_t i = 0; status == EM_OK && i < journal->seal_count; i++)
        if (is_earlier(&journal->seals[i], sealing))
            status = add_seal(journal, &journal->seals[i], sums);
    for (uint32_t i = 0; status == EM_OK && i < journal->live_count; i++) {
        if (!journal->live[i].mark)
            continue;
        status = em_journal_embedding(journal, i, q20);
        if (status == EM_OK)
            add_example(sums, q20, journal->header.dim, (int)sealing->moment);
    }
    return status;
}

/* What to seal, and whether that is worth it: 1, or 0. */
static int plan(em_journal *journal, const em_id *ids, uint32_t count, emj_sealing *sealing)
{
    int status = mark_examples(journal, ids, count, sealing);
    if (status < 0)
        return status;
    for (uint32_t i = 0; i < journal->seal_count; i++)
        if (journal->seals[i].of_class == sealing->of_class)
            sealing->moment |= journal->seals[i].moment;
    status = gather_ranges(journal, ids, count, sealing);
    if (status < 0)
        return status;
    uint64_t length = emj_seal_length(journal->classes[sealing->of_class].size, sealing->ranges, journal->header.dim,
                                      (int)sealing->moment);
    uint64_t old = old_size(journal, sealing);
    if (length > UINT32_MAX || emj_record_size((uint32_t)length) >= old)
        return 0;
    sealing->length = (uint32_t)length;
    return journal->seal_count < journal->limits.seals ? 1 : EM_ERR_FULL;
}

int em_journal_seal_class(em_journal *journal, uint32_t of_class, const em_id *ids, uint32_t count, int moment,
                          void *memory, size_t size)
{
    emj_sealing sealing = {of_class, moment != 0, 0, 0, 0, 0, NULL};
    int status = emj_check_writable(journal);
    if (status < 0)
        return status;
    if (count == 0)
        return 0;
    if (ids == NULL)
        return EM_ERR_NULL;
    status = em_check_memory(memory, size, em_journal_seal_size(journal, moment));
    if (status < 0)
        return status;
    if (journal->mixed || (journal->targets != 0 && journal->targets != EM_ANY_TARGETS))
        return EM_ERR_MISMATCH; /* sums would lose the targets */
    status = plan(journal, ids, count, &sealing);
    if (status <= 0)
        return status;
    double *sums = memory;
    sealing.sums = sums;
    status = add_up(journal, &sealing, sums, (int32_t *)(sums + sums_of(journal, (int)sealing.moment)));
    if (status == EM_OK)
        status = emj_rewrite(journal, &sealing);
    return status < 0 ? status : (int)sealing.examples;
}
