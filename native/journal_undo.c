/* journal_undo.c - the inverse of the newest transaction that can be taken back, worked out from the file itself.
 *
 * What it added goes: the example or seal of that id, or the one that later undos brought back in its stead. What it
 * removed comes back under new ids: journal_removed.c. */
#include "journal.h"

/* The transaction that begins at `start`: where its commit lies, what it holds. It was looked through before. */
static int find_commit(em_journal *journal, uint64_t start, emj_transaction *out)
{
    emj_record record;
    const uint8_t *data;
    out->start = start;
    out->kinds = 0;
    for (uint64_t at = start;; at = record.end) {
        int found = emj_read_frame(&journal->source, at, &record);
        if (found <= 0)
            return found < 0 ? found : EM_ERR_DAMAGED;
        if (record.frame.kind == EMJ_IS_COMMIT)
            break;
        if (record.frame.kind < 8)
            out->kinds |= 1u << record.frame.kind;
    }
    int status = record.frame.length == EMJ_COMMIT ? EM_OK : EM_ERR_DAMAGED;
    if (status == EM_OK)
        status = emj_bytes(&journal->source, record.offset + EMJ_FRAME, EMJ_COMMIT, &data);
    if (status == EM_OK)
        emj_commit_decode(data, &out->commit);
    out->commit_at = record.offset;
    out->end = record.end;
    return status;
}

int emj_walk_records(em_journal *journal, uint64_t start, uint64_t end, uint32_t kind, emj_visit take, void *of)
{
    emj_record record;
    for (uint64_t at = start; at < end; at = record.end) {
        int found = emj_read_frame(&journal->source, at, &record);
        if (found <= 0)
            return found < 0 ? found : EM_ERR_DAMAGED;
        int status = record.frame.kind == kind ? take(of, &record) : EM_OK;
        if (status < 0)
            return status;
    }
    return EM_OK;
}

int emj_walk(em_journal *journal, uint64_t end, uint32_t kind, emj_visit take, void *of)
{
    emj_transaction each;
    uint64_t number, *before = NULL;
    if (journal->voids == 0)
        return emj_walk_records(journal, EMJ_HEADER, end, kind, take, of);
    /* There are torn bytes between transactions, which may hold whole records. */
    for (uint64_t at = EMJ_HEADER; at < end; at = each.end) {
        int found = emj_next_transaction(journal, at, before, &each);
        if (found <= 0)
            return found < 0 ? found : EM_ERR_DAMAGED;
        number = each.commit.number;
        before = &number;
        int status = emj_walk_records(journal, each.start, each.commit_at, kind, take, of);
        if (status < 0)
            return status;
    }
    return EM_OK;
}

/* The transaction that follows another, whose number is given. */
static int find_next(em_journal *journal, uint64_t at, uint64_t number, emj_transaction *out)
{
    if (journal->voids == 0)
        return find_commit(journal, at, out);
    int found = emj_next_transaction(journal, at, &number, out);
    return found < 0 ? found : found ? EM_OK : EM_ERR_DAMAGED;
}

/* ---- what the transaction added ---------------------------------------------------------------------------------- */

/* Under which id later undos brought `id` back. */
struct heir {
    em_journal *journal;
    em_id id;
};

static void load_id(const uint8_t *data, em_id *out)
{
    memcpy(out->uuid, data, 16);
    out->counter = emj_load64(data + 16);
}

static void follow(struct heir *heir, const em_id *origin, const em_id *id)
{
    if (origin->counter == heir->id.counter && memcmp(origin->uuid, heir->id.uuid, 16) == 0)
        heir->id = *id;
}

static int follow_example(void *of, const emj_record *record)
{
    struct heir *heir = of;
    emj_example example;
    int status = emj_read_example(&heir->journal->source, record, heir->journal->header.dim, &example);
    if (status == EM_OK)
        follow(heir, &example.origin, &example.id);
    return status;
}

/* Origin and own id of a seal. */
static int read_seal_ids(em_journal *journal, const emj_record *record, em_id *origin, em_id *id)
{
    emj_seal_head head;
    const uint8_t *data;
    int status = emj_read_seal(&journal->source, record, journal->header.dim, &head, &data);
    if (status == EM_OK) {
        load_id(data, origin);
        status = emj_bytes(&journal->source, record->offset + EMJ_FRAME + head.at, EMJ_RANGE, &data);
    }
    if (status == EM_OK)
        load_id(data, id);
    return status;
}

static int follow_seal(void *of, const emj_record *record)
{
    struct heir *heir = of;
    em_id origin, id;
    int status = read_seal_ids(heir->journal, record, &origin, &id);
    if (status == EM_OK)
        follow(heir, &origin, &id);
    return status;
}

/* after: the transaction that brought it. */
static int find_heir(struct heir *heir, const emj_transaction *after, uint32_t kind, emj_visit follow_one)
{
    em_journal *journal = heir->journal;
    emj_transaction found = *after;
    while (found.end < journal->end) {
        int status = find_next(journal, found.end, found.commit.number, &found);
        if (status == EM_OK && found.commit.undoes)
            status = emj_walk_records(journal, found.start, found.commit_at, kind, follow_one, heir);
        if (status < 0)
            return status;
    }
    return EM_OK;
}

struct adding {
    em_journal *journal;
    const emj_transaction *transaction;
};

static int draft_example(void *of, const emj_record *record)
{
    struct adding *adding = of;
    em_journal *journal = adding->journal;
    struct heir heir = {journal, {{0}, 0}};
    emj_example example;
    int status = emj_read_example(&journal->source, record, journal->header.dim, &example);
    if (status < 0)
        return status;
    heir.id = example.id;
    if (em_journal_find(journal, &heir.id) < 0)
        status = find_heir(&heir, adding->transaction, EMJ_IS_EXAMPLE, follow_example);
    int index = em_journal_find(journal, &heir.id);
    if (status < 0 || index < 0)
        return status;
    const emj_live *each = &journal->live[index];
    return emj_ranges_add(&journal->draft, each->uuid, each->counter, each->counter + 1);
}

/* The seal of this id, if it is there: its number, or EM_ERR_NOT_FOUND. */
static int find_seal(const em_journal *journal, const em_id *id)
{
    int uuid = emj_uuid_find(journal, id->uuid);
    for (uint32_t i = 0; uuid >= 0 && i < journal->seal_count; i++) {
        const emj_range *first = &journal->pool[journal->seals[i].first_range];
        if (first->uuid == (uint32_t)uuid && first->first == id->counter)
            return (int)i;
    }
    return EM_ERR_NOT_FOUND;
}

static int draft_seal(void *of, const emj_record *record)
{
    struct adding *adding = of;
    em_journal *journal = adding->journal;
    struct heir heir = {journal, {{0}, 0}};
    em_id origin;
    int status = read_seal_ids(journal, record, &origin, &heir.id);
    if (status == EM_OK && find_seal(journal, &heir.id) < 0)
        status = find_heir(&heir, adding->transaction, EMJ_IS_SEAL, follow_seal);
    int index = find_seal(journal, &heir.id);
    if (status < 0 || index < 0)
        return status;
    const emj_seal *seal = &journal->seals[index];
    for (uint32_t i = 0; status == EM_OK && i < seal->ranges; i++) {
        const emj_range *part = &journal->pool[seal->first_range + i];
        status = emj_ranges_add(&journal->draft, part->uuid, part->first, part->end);
    }
    return status;
}

/* What the transaction added, to the draft, so far as it is still there. */
static int draft_added(em_journal *journal, const emj_transaction *found)
{
    struct adding adding = {journal, found};
    emj_ranges_clear(&journal->draft, journal->uuid_count);
    int status = emj_walk_records(journal, found->start, found->commit_at, EMJ_IS_EXAMPLE, draft_example, &adding);
    if (status == EM_OK)
        status = emj_walk_records(journal, found->start, found->commit_at, EMJ_IS_SEAL, draft_seal, &adding);
    return status;
}

/* Whether there are counters enough for what comes back. */
static int check_counters(const em_journal *journal, const emj_draft *draft)
{
    uint64_t left = EMJ_MAX_COUNTER - draft->next;
    if (draft->staged >= left)
        return EM_ERR_FULL;
    left -= draft->staged;
    for (uint32_t i = 0; i < journal->staged_seals; i++) {
        uint64_t count = journal->seals[journal->seal_count + i].count;
        if (count >= left)
            return EM_ERR_FULL;
        left -= count;
    }
    return EM_OK;
}

int em_journal_undo(em_journal *journal)
{
    emj_draft draft;
    emj_transaction found;
    int status = emj_check_writable(journal);
    if (status < 0)
        return status;
    if (journal->undo_count == 0)
        return EM_ERR_NOT_FOUND;
    emj_undo newest = journal->undo[journal->undo_count - 1];
    status = emj_draft_begin(journal, &draft);
    draft.undoes = newest.number;
    if (status == EM_OK)
        status = find_commit(journal, newest.start, &found);
    if (status == EM_OK)
        status = emj_stage_removed(journal, &draft, &found, newest.live);
    if (status == EM_OK)
        status = draft_added(journal, &found);
    if (status == EM_OK)
        status = check_counters(journal, &draft);
    if (status < 0)
        return emj_draft_drop(journal, &draft, status);
    int restored = (int)draft.staged; /* at most limits.examples, which fits */
    status = emj_draft_finish(journal, &draft);
    return status < 0 ? status : restored;
}
