/* journal_scan.c - reading a journal from its start: transactions one by one up to the first bad byte, then a look at
 * what is behind. A transaction is looked through whole before anything of it is believed; then journal_apply.c takes
 * it in. */
#include "journal.h"

static int check_seal(em_journal *journal, const emj_record *record)
{
    emj_seal_head head;
    const uint8_t *data;
    int status = emj_read_seal(&journal->source, record, journal->header.dim, &head, &data);
    if (status == EM_OK)
        status = emj_bytes(&journal->source, record->offset + EMJ_FRAME + EMJ_SEAL, head.label_size, &data);
    if (status == EM_OK && !emj_is_utf8(data, head.label_size))
        status = EM_ERR_DAMAGED;
    /* The seal may never be committed: its uuids are not met yet. */
    uint32_t uuids = journal->uuid_count;
    if (status == EM_OK)
        status = emj_seal_ranges(journal, record, &head);
    journal->uuid_count = uuids;
    return status;
}

/* A record of a length that its type has, and whose fields make sense by themselves. */
static int check_small(em_journal *journal, const emj_record *record)
{
    static const uint32_t lengths[] = {0, 0, EMJ_RANGE, 0, EMJ_IDENTITY, EMJ_COMMIT};
    const uint8_t *data;
    if (record->frame.length != lengths[record->frame.kind])
        return EM_ERR_DAMAGED;
    int status = emj_bytes(&journal->source, record->offset + EMJ_FRAME, record->frame.length, &data);
    if (status == EM_OK && record->frame.kind == EMJ_IS_TOMBSTONE)
        status = emj_range_check(data);
    if (status == EM_OK && record->frame.kind == EMJ_IS_IDENTITY && emj_is_zero(data, 16))
        status = EM_ERR_DAMAGED;
    return status;
}

/* EM_ERR_DAMAGED for a record with a right CRC that makes no sense, EM_ERR_VERSION for one of a later version. */
static int check_record(em_journal *journal, const emj_record *record)
{
    emj_example example;
    switch (record->frame.kind) {
    case EMJ_IS_EXAMPLE:
        return emj_read_example(&journal->source, record, journal->header.dim, &example);
    case EMJ_IS_SEAL:
        return check_seal(journal, record);
    case EMJ_IS_TOMBSTONE:
    case EMJ_IS_IDENTITY:
    case EMJ_IS_COMMIT:
        return check_small(journal, record);
    default:
        return record->frame.flags & 1 ? EM_OK : EM_ERR_VERSION;
    }
}

/* Look through the transaction at `start`, whatever its number: 1 where it is whole, else 0. most: records in it. */
static int find_transaction(em_journal *journal, uint64_t start, uint64_t most, emj_transaction *out)
{
    uint64_t offset = start, records = 0;
    uint32_t checksum = journal->header.seed, crc;
    emj_record record;
    out->start = start;
    out->kinds = 0;
    for (;; offset = record.end, records++) {
        uint8_t link[4];
        int found = emj_read_frame(&journal->source, offset, &record);
        if (found > 0)
            found = emj_check_body(&journal->source, &record, &crc);
        if (found <= 0)
            return found;
        int status = check_record(journal, &record);
        if (status < 0)
            return status;
        if (record.frame.kind == EMJ_IS_COMMIT)
            break;
        if (records + 1 == most)
            return 0;
        if (record.frame.kind < 8)
            out->kinds |= 1u << record.frame.kind;
        emj_store32(link, crc);
        checksum = em_crc32(checksum, link, 4);
    }
    const uint8_t *data;
    int status = emj_bytes(&journal->source, record.offset + EMJ_FRAME, EMJ_COMMIT, &data);
    if (status < 0)
        return status;
    emj_commit_decode(data, &out->commit);
    out->commit_at = record.offset;
    out->end = record.end;
    return out->commit.start == start && out->commit.records == records && out->commit.checksum == checksum;
}

/* number: of the transaction before, or NULL where there is none. */
static int follows(const emj_commit *commit, const uint64_t *number)
{
    return number == NULL || (*number != UINT64_MAX && commit->number == *number + 1);
}

/* At `offset`, a transaction that goes on behind torn bytes which begin at `torn`: 1 where it is whole, else 0. It is
 * short, so that a file full of its beginnings takes no longer to read. */
static int find_resumption(em_journal *journal, uint64_t torn, uint64_t offset, const uint64_t *number,
                           emj_transaction *out)
{
    emj_source *source = &journal->source;
    emj_record record;
    int found = emj_read_frame(source, offset, &record);
    if (found <= 0 || record.frame.kind != EMJ_IS_IDENTITY || record.frame.length != EMJ_IDENTITY)
        return found < 0 ? found : 0;
    uint64_t limit = source->limit;
    if (limit - offset > EMJ_LONGEST_RESUMPTION)
        source->limit = offset + EMJ_LONGEST_RESUMPTION;
    found = find_transaction(journal, offset, EMJ_RESUMPTION_RECORDS, out);
    source->limit = limit;
    int right = found > 0 && (out->commit.flags & EMJ_RESUMES) && out->commit.synced == torn;
    return found < 0 ? found : right && follows(&out->commit, number);
}

int emj_next_transaction(em_journal *journal, uint64_t at, const uint64_t *number, emj_transaction *out)
{
    int found = find_transaction(journal, at, UINT64_MAX, out);
    if (found < 0 || (found > 0 && follows(&out->commit, number)))
        return found;
    if (at < journal->header.base)
        return 0;
    for (uint64_t offset = at + 8; (found = emj_find_magic(&journal->source, &offset)) > 0; offset += 8) {
        found = find_resumption(journal, at, offset, number, out);
        if (found != 0)
            return found;
    }
    return found;
}

/* 1 where the record at `offset` is whole, and *synced what it says if it is a commit; 0 where it is not: then no
 * record up to *damaged_to is looked at any more but for commits. */
static int look_behind(em_journal *journal, uint64_t offset, uint64_t *end, uint64_t *damaged_to, uint64_t *synced)
{
    emj_record record;
    emj_commit commit;
    uint32_t crc;
    const uint8_t *data;
    int found = emj_read_frame(&journal->source, offset, &record);
    if (found <= 0)
        return found;
    int is_commit = record.frame.kind == EMJ_IS_COMMIT && record.frame.length == EMJ_COMMIT;
    *end = record.end;
    if (is_commit || offset >= *damaged_to)
        found = emj_check_body(&journal->source, &record, &crc);
    else
        found = 0;
    if (found == 0 && record.end > *damaged_to)
        *damaged_to = record.end;
    if (found <= 0 || !is_commit)
        return found;
    int status = emj_bytes(&journal->source, offset + EMJ_FRAME, EMJ_COMMIT, &data);
    if (status < 0)
        return status;
    emj_commit_decode(data, &commit);
    *synced = commit.synced;
    return 1;
}

/* The largest length that the header or a commit behind `end` says was synced. */
static int find_durable(em_journal *journal, uint64_t *durable)
{
    uint64_t offset = journal->end, end = offset, damaged_to = offset;
    int found;
    *durable = journal->header.base;
    while ((found = emj_find_magic(&journal->source, &offset)) > 0) {
        uint64_t synced = 0;
        found = look_behind(journal, offset, &end, &damaged_to, &synced);
        if (found < 0)
            return found;
        offset = found ? end : offset + 8;
        if (synced > *durable)
            *durable = synced;
    }
    return found;
}

int emj_scan(em_journal *journal)
{
    emj_transaction transaction;
    uint64_t durable, limit = journal->source.limit;
    int found;
    for (;;) {
        const uint64_t *number = journal->has_number ? &journal->number : NULL;
        found = emj_next_transaction(journal, journal->end, number, &transaction);
        if (found <= 0)
            break;
        int status = emj_apply(journal, &transaction);
        if (status < 0)
            return status;
        journal->voids += transaction.start != journal->end;
        journal->end = transaction.end;
    }
    if (found < 0)
        return found;
    journal->torn = limit - journal->end;
    if (journal->end == limit && limit >= journal->header.base)
        return EM_OK;
    int status = find_durable(journal, &durable);
    if (status < 0)
        return status;
    /* Bytes that were durable and cannot be read are no cut of power. */
    return journal->end < durable ? EM_ERR_DAMAGED : EM_OK;
}
