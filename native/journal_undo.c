/* journal_undo.c - the inverse of the newest transaction that can be taken back, worked out from the file itself.
 *
 * What it added goes: the example of that id, or the one that later undos brought back in its stead. What it removed
 * comes back under new ids: the examples before it that its tombstones name and that no earlier tombstone names. */
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

struct undoing {
    em_journal *journal;
    emj_draft *draft;
    uint64_t named; /* how many ids the tombstones name */
    em_id id;       /* whose heir is looked for */
};

typedef int (*visit)(struct undoing *undoing, const emj_record *record);

/* Hand the records of one kind in the bytes [start, end) to `take`. */
static int walk(struct undoing *undoing, uint64_t start, uint64_t end, uint32_t kind, visit take)
{
    emj_record record;
    for (uint64_t at = start; at < end; at = record.end) {
        int found = emj_read_frame(&undoing->journal->source, at, &record);
        if (found <= 0)
            return found < 0 ? found : EM_ERR_DAMAGED;
        int status = record.frame.kind == kind ? take(undoing, &record) : EM_OK;
        if (status < 0)
            return status;
    }
    return EM_OK;
}

static int load_range(struct undoing *undoing, const emj_record *record, emj_range *out)
{
    const uint8_t *data;
    int status = emj_bytes(&undoing->journal->source, record->offset + EMJ_FRAME, EMJ_RANGE, &data);
    if (status == EM_OK)
        status = emj_range_check(data);
    if (status < 0)
        return status;
    int uuid = emj_uuid_find(undoing->journal, data);
    if (uuid < 0)
        return EM_ERR_DAMAGED;
    out->uuid = (uint32_t)uuid;
    out->first = emj_load64(data + 16);
    out->end = out->first + emj_load64(data + 24);
    return EM_OK;
}

/* A tombstone of the transaction itself, to the draft. */
static int take_named(struct undoing *undoing, const emj_record *record)
{
    emj_range range;
    int status = load_range(undoing, record, &range);
    if (status < 0)
        return status;
    uint64_t size = range.end - range.first;
    undoing->named = size > UINT64_MAX - undoing->named ? UINT64_MAX : undoing->named + size;
    return emj_ranges_add(&undoing->journal->draft, range.uuid, range.first, range.end);
}

/* An example before the transaction: staged where the draft names it. */
static int take_removed(struct undoing *undoing, const emj_record *record)
{
    em_journal *journal = undoing->journal;
    emj_example example;
    int status = emj_read_example(&journal->source, record, journal->header.dim, &example);
    if (status < 0)
        return status;
    int uuid = emj_uuid_find(journal, example.id.uuid);
    if (uuid < 0 || !emj_ranges_hold(&journal->draft, (uint32_t)uuid, example.id.counter))
        return EM_OK;
    emj_live *each = emj_draft_stage(journal, undoing->draft, example.label, example.label_size, &status);
    if (each == NULL)
        return status;
    each->counter = example.id.counter;
    each->uuid = (uint32_t)uuid;
    each->offset = record->offset;
    each->length = record->frame.length;
    each->group = example.has_group ? emj_group_hash(example.group, example.group_size) : 0;
    each->mark = journal->uuids[uuid].rank[journal->draft.which];
    return EM_OK;
}

/* A tombstone before the transaction: what it names was not there any more. */
static int drop_dead_before(struct undoing *undoing, const emj_record *record)
{
    em_journal *journal = undoing->journal;
    emj_live *staged = journal->live + journal->live_count;
    emj_range range;
    uint32_t kept = 0;
    int status = load_range(undoing, record, &range);
    if (status < 0)
        return status;
    for (uint32_t i = 0; i < undoing->draft->staged; i++) {
        if (staged[i].uuid == range.uuid && staged[i].counter >= range.first && staged[i].counter < range.end)
            journal->classes[staged[i].of_class].count--;
        else
            staged[kept++] = staged[i];
    }
    undoing->draft->staged = kept;
    return EM_OK;
}

/* A seal before the transaction: taking back what removed it would need another seal to be written. */
static int refuse_named_seal(struct undoing *undoing, const emj_record *record)
{
    em_journal *journal = undoing->journal;
    emj_seal_head head;
    const uint8_t *data;
    int status = record->frame.length >= EMJ_SEAL ? EM_OK : EM_ERR_DAMAGED;
    if (status == EM_OK)
        status = emj_bytes(&journal->source, record->offset + EMJ_FRAME, EMJ_SEAL, &data);
    if (status == EM_OK)
        status = emj_seal_decode(data, record->frame.length, journal->header.dim, &head);
    for (uint32_t i = 0; status == EM_OK && i < head.ranges; i++) {
        uint64_t at = record->offset + EMJ_FRAME + head.at + (uint64_t)i * EMJ_RANGE;
        status = emj_bytes(&journal->source, at, EMJ_RANGE, &data);
        if (status < 0)
            break;
        int uuid = emj_uuid_find(journal, data);
        uint64_t first = emj_load64(data + 16), end = first + emj_load64(data + 24);
        if (emj_range_check(data) < 0 || uuid < 0)
            status = EM_ERR_DAMAGED;
        else if (emj_ranges_shared(&journal->draft, (uint32_t)uuid, first, end))
            status = EM_ERR_UNSUPPORTED;
    }
    return status;
}

static int is_after(const emj_live *a, const emj_live *b)
{
    return a->mark != b->mark ? a->mark > b->mark : a->counter > b->counter;
}

static void sift(emj_live *items, uint32_t root, uint32_t count)
{
    while (root < count / 2) {
        uint32_t child = 2 * root + 1;
        if (child + 1 < count && is_after(&items[child + 1], &items[child]))
            child++;
        if (!is_after(&items[child], &items[root]))
            return;
        emj_live kept = items[root];
        items[root] = items[child];
        items[child] = kept;
        root = child;
    }
}

/* Heapsort by uuid and counter: new ids are given in the order in which the tombstones name the old ones. */
static void sort(emj_live *items, uint32_t count)
{
    for (uint32_t i = count / 2; i > 0; i--)
        sift(items, i - 1, count);
    for (uint32_t left = count; left > 1; left--) {
        emj_live last = items[left - 1];
        items[left - 1] = items[0];
        items[0] = last;
        sift(items, 0, left - 1);
    }
}

/* Stage what the transaction removed. */
static int stage_removed(struct undoing *undoing, const emj_transaction *found, uint32_t live_before)
{
    em_journal *journal = undoing->journal;
    int status = walk(undoing, found->start, found->commit_at, EMJ_IS_TOMBSTONE, take_named);
    if (status < 0 || journal->draft.count == 0)
        return status;
    status = walk(undoing, EMJ_HEADER, found->start, EMJ_IS_SEAL, refuse_named_seal);
    if (status == EM_OK)
        status = walk(undoing, EMJ_HEADER, found->start, EMJ_IS_EXAMPLE, take_removed);
    if (status == EM_OK)
        status = walk(undoing, EMJ_HEADER, found->start, EMJ_IS_TOMBSTONE, drop_dead_before);
    /* Where more ids are named than there were examples, the Python writer goes by the order of the file. */
    if (status == EM_OK && undoing->named <= live_before)
        sort(journal->live + journal->live_count, undoing->draft->staged);
    return status;
}

static int follow_heir(struct undoing *undoing, const emj_record *record)
{
    emj_example example;
    int status = emj_read_example(&undoing->journal->source, record, undoing->journal->header.dim, &example);
    if (status < 0)
        return status;
    if (example.origin.counter == undoing->id.counter && memcmp(example.origin.uuid, undoing->id.uuid, 16) == 0)
        undoing->id = example.id;
    return EM_OK;
}

/* Under which id later undos brought undoing->id back, if they did. */
static int find_heir(struct undoing *undoing, uint64_t from)
{
    emj_transaction found;
    for (uint64_t at = from; at < undoing->journal->end; at = found.end) {
        int status = find_commit(undoing->journal, at, &found);
        if (status == EM_OK && found.commit.undoes)
            status = walk(undoing, found.start, found.commit_at, EMJ_IS_EXAMPLE, follow_heir);
        if (status < 0)
            return status;
    }
    return EM_OK;
}

/* What the transaction added, to the draft, so far as it is still there. */
static int draft_added(struct undoing *undoing, const emj_transaction *found)
{
    em_journal *journal = undoing->journal;
    emj_record record;
    emj_ranges_clear(&journal->draft, journal->uuid_count);
    for (uint64_t at = found->start; at < found->commit_at; at = record.end) {
        emj_example example;
        int is_there = emj_read_frame(&journal->source, at, &record);
        if (is_there <= 0)
            return is_there < 0 ? is_there : EM_ERR_DAMAGED;
        if (record.frame.kind != EMJ_IS_EXAMPLE)
            continue;
        int status = emj_read_example(&journal->source, &record, journal->header.dim, &example);
        undoing->id = example.id;
        if (status == EM_OK && em_journal_find(journal, &undoing->id) < 0)
            status = find_heir(undoing, found->end);
        int index = status == EM_OK ? em_journal_find(journal, &undoing->id) : status;
        if (index >= 0) {
            const emj_live *each = &journal->live[index];
            status = emj_ranges_add(&journal->draft, each->uuid, each->counter, each->counter + 1);
        }
        if (status < 0)
            return status;
    }
    return EM_OK;
}

int em_journal_undo(em_journal *journal)
{
    emj_draft draft;
    emj_transaction found;
    struct undoing undoing = {journal, &draft, 0, {{0}, 0}};
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
    if (status == EM_OK && found.kinds & 1u << EMJ_IS_SEAL)
        status = EM_ERR_UNSUPPORTED;
    if (status == EM_OK)
        status = stage_removed(&undoing, &found, newest.live);
    if (status == EM_OK)
        status = draft_added(&undoing, &found);
    if (status < 0)
        return emj_draft_drop(journal, &draft, status);
    int restored = (int)draft.staged; /* at most limits.examples, which fits */
    status = emj_draft_finish(journal, &draft);
    return status < 0 ? status : restored;
}
