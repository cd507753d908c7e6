/* journal_compact.c - rewriting a journal without what was forgotten, and with what is sealed on the way: one
 * transaction in a new file.
 *
 * The header says how long the new file is, so damage to it never looks like a torn end. */
#include "journal.h"

typedef struct compaction {
    em_journal *journal;
    emj_header header; /* of the new file */
    const emj_sealing *sealing; /* or NULL */
    int made;
    int status;
} compaction;

static int keeps_seal(const compaction *job, const emj_seal *seal)
{
    const emj_sealing *sealing = job->sealing;
    return sealing == NULL || seal->of_class != sealing->of_class || seal->moment != sealing->moment;
}

static int keeps_example(const compaction *job, const emj_live *each)
{
    return job->sealing == NULL || !each->mark;
}

/* Record after record in the order of the new file: the length of each payload. */
static uint64_t new_length(const em_journal *journal, const compaction *job)
{
    uint64_t size = EMJ_HEADER;
    size += journal->dead.count * emj_record_size(EMJ_RANGE);
    for (uint32_t i = 0; i < journal->seal_count; i++)
        if (keeps_seal(job, &journal->seals[i]))
            size += emj_record_size(journal->seals[i].length);
    if (job->sealing != NULL)
        size += emj_record_size(job->sealing->length);
    for (uint32_t i = 0; i < journal->live_count; i++)
        if (keeps_example(job, &journal->live[i]))
            size += emj_record_size(journal->live[i].length);
    return size + emj_filler(journal->block, size) + emj_record_size(EMJ_COMMIT);
}

/* The new seal as the index will have it, behind the others: there is room. */
static emj_seal fresh_seal(const em_journal *journal, const emj_sealing *sealing)
{
    emj_seal fresh = {sealing->count, 0, sealing->of_class, sealing->length, journal->pool_count, sealing->ranges,
                      sealing->moment, 0};
    return fresh;
}

static void put_fresh_seal(em_journal *journal, emj_sink *sink, const emj_sealing *sealing)
{
    static const uint8_t none[24] = {0};
    emj_seal fresh = fresh_seal(journal, sealing);
    uint64_t dim = journal->header.dim, count = dim + (sealing->moment ? dim * (dim + 1) / 2 : 0);
    emj_put_seal_head(journal, sink, &fresh, none);
    for (uint64_t i = 0; i < count && sink->status == EM_OK; i++) {
        uint8_t number[8];
        emj_store64(number, emj_bits(sealing->sums[i]));
        emj_sink_put(sink, number, 8);
    }
    emj_sink_end(sink);
}

static uint64_t next_number(const em_journal *journal)
{
    return journal->has_number ? journal->number + 1 : 1;
}

/* What the store calls to have the new bytes. */
static int make(void *maker, const uint8_t *place, em_write write, void *to)
{
    compaction *job = maker;
    em_journal *journal = job->journal;
    uint8_t header[EMJ_HEADER];
    memcpy(job->header.place, place, 16);
    emj_header_encode(&job->header, header);
    uint32_t seed = job->header.seed;
    emj_sink sink = {write, to, journal->out, 0, 0, seed, 0, 0, seed, 0, EM_OK};
    emj_commit commit = {next_number(journal), 0, EMJ_HEADER, EMJ_HEADER, 0, EMJ_COMPACTION, 0};
    emj_sink_bytes(&sink, header, sizeof header);
    emj_sink_ranges(&sink, &journal->dead);
    for (uint32_t i = 0; i < journal->seal_count; i++)
        if (keeps_seal(job, &journal->seals[i]))
            emj_sink_copy(&sink, &journal->source, journal->seals[i].offset, EMJ_IS_SEAL, NULL);
    if (job->sealing != NULL)
        put_fresh_seal(journal, &sink, job->sealing);
    for (uint32_t i = 0; i < journal->live_count; i++)
        if (keeps_example(job, &journal->live[i]))
            emj_sink_copy(&sink, &journal->source, journal->live[i].offset, EMJ_IS_EXAMPLE, NULL);
    emj_sink_filler(&sink, emj_filler(journal->block, sink.offset));
    emj_sink_commit(&sink, &commit);
    if (sink.status == EM_OK && sink.offset != job->header.base)
        sink.status = EM_ERR_DAMAGED; /* a record is not as long as it was */
    job->made = 1;
    job->status = sink.status;
    return sink.status;
}

/* What was sealed leaves the index, and the seal comes into it. */
static void take_sealing(em_journal *journal, const compaction *job)
{
    uint32_t kept = 0;
    emj_seal fresh = fresh_seal(journal, job->sealing);
    journal->classes[fresh.of_class].count += fresh.count;
    journal->seals[journal->seal_count] = fresh;
    journal->staged_seals = 1;
    journal->staged_ranges = fresh.ranges;
    for (uint32_t i = journal->seal_count; i > 0; i--)
        if (!keeps_seal(job, &journal->seals[i - 1]))
            emj_seal_drop(journal, i - 1);
    for (uint32_t i = 0; i < journal->live_count; i++) {
        if (keeps_example(job, &journal->live[i]))
            journal->live[kept++] = journal->live[i];
        else
            journal->classes[fresh.of_class].count--;
    }
    journal->live_count = kept;
    journal->seal_count++;
    journal->pool_count += fresh.ranges;
    journal->staged_seals = journal->staged_ranges = 0;
}

/* Everything has moved; what is known stays. */
static void take_over(em_journal *journal, const compaction *job, uint32_t uuid)
{
    if (job->sealing != NULL)
        take_sealing(journal, job);
    uint64_t offset = EMJ_HEADER + journal->dead.count * emj_record_size(EMJ_RANGE);
    for (uint32_t i = 0; i < journal->seal_count; i++) {
        journal->seals[i].offset = offset;
        offset += emj_record_size(journal->seals[i].length);
    }
    for (uint32_t i = 0; i < journal->live_count; i++) {
        journal->live[i].offset = offset;
        offset += emj_record_size(journal->live[i].length);
    }
    journal->number = next_number(journal);
    journal->has_number = 1;
    journal->header = job->header;
    journal->uuid = uuid;
    journal->next = job->header.next;
    journal->is_volatile = job->header.is_volatile;
    memcpy(journal->place, job->header.place, 16);
    journal->end = journal->synced = journal->source.limit = job->header.base;
    journal->source.seed = job->header.seed;
    journal->source.size = 0;
    journal->undo_count = journal->voids = 0;
    journal->resume_at = 0;
    journal->own = 1;
    if (journal->live_count == 0 && journal->seal_count == 0)
        journal->targets = EM_ANY_TARGETS;
}

/* The header of the new file, but for its place. */
static int prepare(em_journal *journal, const emj_sealing *sealing, compaction *job, uint32_t *uuid)
{
    uint8_t salt[8] = {0};
    memset(job, 0, sizeof *job);
    job->journal = journal;
    job->sealing = sealing;
    job->header = journal->header;
    *uuid = journal->uuid;
    job->header.next = journal->next;
    if (!journal->own) {
        int fresh = emj_fresh_uuid(journal);
        if (fresh < 0)
            return fresh;
        *uuid = (uint32_t)fresh;
        job->header.next = 1;
    }
    if (journal->store.random(journal->store.user, salt, sizeof salt) != 0)
        return EM_ERR_IO;
    memcpy(job->header.uuid, journal->uuids[*uuid].bytes, 16);
    job->header.minor = journal->mode == EM_JOURNAL_FLASH;
    job->header.salt = emj_load64(salt);
    job->header.base = new_length(journal, job);
    job->header.is_volatile = journal->mode == EM_JOURNAL_LAZY;
    return EM_OK;
}

/* After a replacement that failed: which file is there? The new one, where only its name could not be made durable. */
static void find_out(em_journal *journal, const compaction *job, uint32_t uuid)
{
    emj_header header;
    if (emj_read_header(journal, &header) < 0) {
        journal->broken = 1;
    } else if (header.seed != journal->header.seed) {
        journal->unusable = 1;
        journal->broken = !job->made || header.seed != job->header.seed;
        if (!journal->broken)
            take_over(journal, job, uuid);
    }
}

int emj_rewrite(em_journal *journal, const emj_sealing *sealing)
{
    compaction job;
    uint32_t uuid;
    int status = emj_check_writable(journal);
    if (status < 0)
        return status;
    uint32_t uuids_before = journal->uuid_count;
    if (journal->has_number && journal->number == UINT64_MAX)
        return EM_ERR_STATE;
    status = prepare(journal, sealing, &job, &uuid);
    if (status == EM_OK) {
        int refused = journal->store.replace(journal->store.user, make, &job);
        journal->source.size = 0;
        if (job.status < 0)
            status = job.status;
        else if (refused != 0 || !job.made)
            status = EM_ERR_IO;
        if (status < 0)
            find_out(journal, &job, uuid);
    }
    if (status == EM_OK)
        take_over(journal, &job, uuid);
    else if (journal->uuid < uuids_before) /* the fresh uuid was not taken over */
        journal->uuid_count = uuids_before;
    return status;
}

int em_journal_compact(em_journal *journal)
{
    return emj_rewrite(journal, NULL);
}
