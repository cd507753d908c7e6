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

static int is_right_commit(const em_journal *journal, const emj_commit *commit, uint64_t records, uint32_t checksum)
{
    if (journal->has_number && (journal->number == UINT64_MAX || commit->number != journal->number + 1))
        return 0;
    return commit->start == journal->end && commit->records == records && commit->checksum == checksum;
}

/* Look through the transaction at journal->end: 1 where it is whole, else 0. */
static int find_transaction(em_journal *journal, emj_transaction *out)
{
    uint64_t offset = journal->end, records = 0;
    uint32_t checksum = journal->header.seed, crc;
    emj_record record;
    out->start = offset;
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
    return is_right_commit(journal, &out->commit, records, checksum);
}

/* The largest length that the header or a commit behind `end` says was synced. */
static int find_durable(em_journal *journal, uint64_t *durable)
{
    uint64_t offset = journal->end;
    int found;
    *durable = journal->header.base;
    while ((found = emj_find_magic(&journal->source, &offset)) > 0) {
        emj_record record;
        uint32_t crc;
        found = emj_read_frame(&journal->source, offset, &record);
        if (found < 0)
            return found;
        offset = found ? record.end : offset + 8;
        if (!found || record.frame.kind != EMJ_IS_COMMIT || record.frame.length != EMJ_COMMIT)
            continue;
        found = emj_check_body(&journal->source, &record, &crc);
        if (found > 0) {
            const uint8_t *data;
            emj_commit commit;
            found = emj_bytes(&journal->source, record.offset + EMJ_FRAME, EMJ_COMMIT, &data);
            if (found < 0)
                return found;
            emj_commit_decode(data, &commit);
            if (commit.synced > *durable)
                *durable = commit.synced;
        }
        if (found < 0)
            return found;
    }
    return found;
}

int emj_scan(em_journal *journal)
{
    emj_transaction transaction;
    uint64_t durable, limit = journal->source.limit;
    int found;
    while ((found = find_transaction(journal, &transaction)) > 0) {
        int status = emj_apply(journal, &transaction);
        if (status < 0)
            return status;
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
