/* journal.c - the journal as its users see it: making and opening it, and looking into it. */
#include "journal.h"

/* ---- memory ------------------------------------------------------------------------------------------------------ */

typedef struct layout {
    uint64_t source, out, uuids, live, classes, labels, seals, pool, undo, dead, draft, size;
} layout;

static uint64_t place_block(uint64_t *size, uint64_t count, uint64_t bytes)
{
    uint64_t at = *size;
    *size = (at + count * bytes + 7) / 8 * 8; /* below 2^32 * 2^9 each: no overflow */
    return at;
}

static uint32_t label_bytes(const em_journal_limits *limits)
{
    return limits->label_bytes ? limits->label_bytes : 255;
}

static layout lay_out(const em_journal_limits *limits)
{
    layout plan;
    uint64_t size = 0;
    (void)place_block(&size, 1, sizeof(em_journal));
    plan.source = place_block(&size, 1, EMJ_BUFFER);
    plan.out = place_block(&size, 1, EMJ_BUFFER);
    plan.uuids = place_block(&size, limits->uuids, sizeof(emj_uuid));
    plan.live = place_block(&size, limits->examples, sizeof(emj_live));
    plan.classes = place_block(&size, limits->classes, sizeof(emj_class));
    plan.labels = place_block(&size, limits->classes, (uint64_t)label_bytes(limits) + 1);
    plan.seals = place_block(&size, limits->seals, sizeof(emj_seal));
    plan.pool = place_block(&size, limits->seal_ranges, sizeof(emj_range));
    plan.undo = place_block(&size, limits->undo, sizeof(emj_undo));
    plan.dead = place_block(&size, limits->ranges, sizeof(emj_range));
    /* One call can fill the gaps between all runs at once, so it may name one run more than there will be. */
    plan.draft = place_block(&size, (uint64_t)limits->ranges + 1, sizeof(emj_range));
    plan.size = size;
    return plan;
}

size_t em_journal_size(const em_journal_limits *limits)
{
    if (limits == NULL || limits->examples < 1 || limits->examples > INT32_MAX || limits->label_bytes > 255)
        return 0;
    if (limits->classes < 1 || limits->classes > INT32_MAX || limits->uuids < 1 || limits->uuids > INT32_MAX)
        return 0;
    if (limits->ranges >= INT32_MAX || limits->seal_ranges > INT32_MAX || limits->seals > INT32_MAX)
        return 0;
    layout plan = lay_out(limits);
    return plan.size <= SIZE_MAX ? (size_t)plan.size : 0;
}

static em_journal *spread_out(void *memory, const em_journal_limits *limits)
{
    layout plan = lay_out(limits);
    uint8_t *base = memory;
    em_journal *journal = memory;
    memset(journal, 0, sizeof *journal);
    journal->limits = *limits;
    journal->limits.label_bytes = label_bytes(limits);
    journal->source.buffer = base + plan.source;
    journal->out = base + plan.out;
    journal->uuids = (void *)(base + plan.uuids);
    journal->live = (void *)(base + plan.live);
    journal->classes = (void *)(base + plan.classes);
    journal->labels = (char *)(base + plan.labels);
    journal->seals = (void *)(base + plan.seals);
    journal->pool = (void *)(base + plan.pool);
    journal->undo = (void *)(base + plan.undo);
    journal->dead.items = (void *)(base + plan.dead);
    journal->dead.room = limits->ranges;
    journal->draft.items = (void *)(base + plan.draft);
    journal->draft.room = limits->ranges + 1;
    journal->draft.which = 1;
    journal->dead.uuids = journal->draft.uuids = journal->uuids;
    journal->targets = EM_ANY_TARGETS;
    return journal;
}

/* ---- making and opening ------------------------------------------------------------------------------------------ */

typedef struct beginning {
    emj_header header;
    uint32_t block;
    uint8_t *buffer; /* EMJ_BUFFER bytes */
    int made;
} beginning;

static int make(void *maker, const uint8_t *place, em_write write, void *sink)
{
    beginning *fresh = maker;
    uint8_t data[EMJ_HEADER];
    memcpy(fresh->header.place, place, 16);
    emj_header_encode(&fresh->header, data);
    fresh->made = 1;
    if (fresh->header.base == EMJ_HEADER)
        return write(sink, data, sizeof data) == 0 ? EM_OK : EM_ERR_IO;
    /* Filled up to a block by a transaction of nothing. */
    uint32_t seed = fresh->header.seed;
    emj_sink out = {write, sink, fresh->buffer, 0, 0, seed, 0, 0, seed, 0, EM_OK};
    emj_commit commit = {1, 0, EMJ_HEADER, EMJ_HEADER, 0, EMJ_COMPACTION, 0};
    emj_sink_bytes(&out, data, sizeof data);
    emj_sink_filler(&out, emj_filler(fresh->block, out.offset));
    emj_sink_commit(&out, &commit);
    return out.status;
}

/* buffer: EMJ_BUFFER bytes. */
static int create(const em_store *store, const em_journal_options *options, uint8_t *buffer)
{
    beginning fresh;
    uint8_t salt[8] = {0};
    if (options->embedding_id == NULL || options->dim == 0)
        return EM_ERR_NOT_FOUND;
    memset(&fresh, 0, sizeof fresh);
    memcpy(fresh.header.embedding_id, options->embedding_id, 32);
    fresh.header.dim = options->dim;
    fresh.header.next = 1;
    fresh.header.base = EMJ_HEADER;
    fresh.block = options->mode == EM_JOURNAL_FLASH ? options->block : 1;
    fresh.buffer = buffer;
    fresh.header.minor = options->mode == EM_JOURNAL_FLASH;
    if (EMJ_HEADER % fresh.block != 0)
        fresh.header.base += emj_filler(fresh.block, EMJ_HEADER) + emj_record_size(EMJ_COMMIT);
    fresh.header.is_volatile = options->mode == EM_JOURNAL_LAZY;
    if (store->random(store->user, salt, 8) != 0 || store->random(store->user, fresh.header.uuid, 16) != 0)
        return EM_ERR_IO;
    fresh.header.salt = emj_load64(salt);
    if (emj_is_zero(fresh.header.uuid, 16))
        return EM_ERR_IO;
    return store->replace(store->user, make, &fresh) == 0 && fresh.made ? EM_OK : EM_ERR_IO;
}

int emj_read_header(em_journal *journal, emj_header *out)
{
    uint64_t size;
    uint8_t data[EMJ_HEADER];
    if (journal->store.size(journal->store.user, &size) != 0)
        return EM_ERR_IO;
    size_t there = size < EMJ_HEADER ? (size_t)size : EMJ_HEADER;
    if (there != 0 && journal->store.read(journal->store.user, 0, data, there) != 0)
        return EM_ERR_IO;
    return emj_header_decode(data, there, out);
}

static int check_options(const em_store *store, const em_journal_options *options)
{
    if (store == NULL || options == NULL || store->size == NULL || store->read == NULL)
        return EM_ERR_NULL;
    if (options->mode < EM_JOURNAL_READ || options->mode > EM_JOURNAL_FLASH)
        return EM_ERR_VALUE;
    int flash = options->mode == EM_JOURNAL_FLASH;
    uint32_t block = options->block;
    if (flash && (block < 8 || block > EMJ_BUFFER || (block & (block - 1)) != 0))
        return EM_ERR_VALUE;
    if (options->dim > EM_MAX_DIM)
        return EM_ERR_SIZE;
    if (options->mode == EM_JOURNAL_READ)
        return EM_OK;
    int all = store->append != NULL && store->sync != NULL && store->replace != NULL && store->random != NULL;
    return all && (flash || store->truncate != NULL) ? EM_OK : EM_ERR_NULL;
}

static int check_kind(const em_journal *journal)
{
    if (journal->wanted == EM_ANY_TARGETS)
        return EM_OK;
    int known = journal->targets != EM_ANY_TARGETS;
    return journal->mixed || (known && journal->targets != journal->wanted) ? EM_ERR_MISMATCH : EM_OK;
}

static int load(em_journal *journal, const em_journal_options *options)
{
    int status = emj_read_header(journal, &journal->header);
    if (status < 0)
        return status;
    if (options->embedding_id != NULL && memcmp(options->embedding_id, journal->header.embedding_id, 32) != 0)
        return EM_ERR_MISMATCH;
    if (options->dim != 0 && options->dim != journal->header.dim)
        return EM_ERR_MISMATCH;
    if (journal->store.size(journal->store.user, &journal->source.limit) != 0)
        return EM_ERR_IO;
    if (journal->source.limit > INT64_MAX)
        return EM_ERR_SIZE;
    journal->source.store = &journal->store;
    journal->source.seed = journal->header.seed;
    journal->end = EMJ_HEADER;
    journal->synced = journal->header.base;
    journal->next = journal->header.next;
    journal->clock = journal->next < EMJ_CLOCK_END ? journal->next : 1;
    journal->is_volatile = journal->header.is_volatile;
    memcpy(journal->place, journal->header.place, 16);
    int uuid = emj_uuid_take(journal, journal->header.uuid);
    if (uuid < 0)
        return uuid;
    journal->uuid = (uint32_t)uuid;
    status = emj_scan(journal);
    return status < 0 ? status : check_kind(journal);
}

/* Before the first write: the torn end goes, what is there becomes durable, ids get a safe uuid. */
static int begin(em_journal *journal, int made)
{
    uint8_t place[16];
    const em_store *store = &journal->store;
    int torn = journal->torn != 0, each_call = emj_syncs(journal);
    if (torn && store->truncate(store->user, journal->end) != 0)
        return EM_ERR_IO;
    /* Another program may have written without. */
    if ((torn || (each_call && journal->end > journal->synced)) && store->sync(store->user) != 0)
        return EM_ERR_IO;
    if (torn || each_call)
        journal->synced = journal->end;
    journal->source.limit = journal->end;
    journal->source.size = 0;
    int status = emj_place(store, place);
    if (status < 0)
        return status;
    int same = memcmp(place, journal->place, 16) == 0;
    journal->own = made || (same && !journal->is_volatile && each_call && !torn);
    if (torn) {
        /* Ids in the lost end may have been handed out. If this cannot be written, the next call has to. */
        emj_draft draft;
        status = emj_draft_begin(journal, &draft);
        (void)(status < 0 ? emj_draft_drop(journal, &draft, status) : emj_draft_finish(journal, &draft));
    }
    return EM_OK;
}

int em_journal_open(void *memory, size_t size, const em_journal_limits *limits, const em_store *store,
                    const em_journal_options *options, em_journal **out)
{
    uint64_t length = 0;
    int made = 0, status = check_options(store, options);
    if (status < 0 || limits == NULL || out == NULL)
        return status < 0 ? status : EM_ERR_NULL;
    status = em_check_memory(memory, size, em_journal_size(limits));
    if (status < 0)
        return em_journal_size(limits) ? status : EM_ERR_SIZE;
    status = store->size(store->user, &length);
    if (status == EM_ERR_NOT_FOUND && options->mode != EM_JOURNAL_READ) {
        status = create(store, options, spread_out(memory, limits)->out);
        made = 1;
    }
    if (status != 0)
        return status == EM_ERR_NOT_FOUND ? EM_ERR_NOT_FOUND : EM_ERR_IO;
    em_journal *journal = spread_out(memory, limits);
    journal->store = *store;
    journal->mode = options->mode;
    journal->block = options->mode == EM_JOURNAL_FLASH ? options->block : 1;
    journal->wanted = options->targets;
    status = load(journal, options);
    if (status == EM_OK && journal->mode == EM_JOURNAL_FLASH)
        status = emj_flash_begin(journal, made);
    else if (status == EM_OK && journal->mode != EM_JOURNAL_READ)
        status = begin(journal, made);
    if (status == EM_OK)
        *out = journal;
    return status;
}

int em_journal_reload(em_journal *journal)
{
    emj_header header;
    uint64_t size;
    if (journal == NULL)
        return EM_ERR_NULL;
    if (journal->broken)
        return EM_ERR_STATE;
    if (journal->mode != EM_JOURNAL_READ)
        return EM_OK;
    if (journal->store.size(journal->store.user, &size) != 0)
        return EM_ERR_IO;
    int status = size < journal->end || size > INT64_MAX ? EM_ERR_STATE : emj_read_header(journal, &header);
    if (status == EM_OK && header.seed != journal->header.seed)
        status = EM_ERR_STATE;
    if (status == EM_OK) {
        journal->source.limit = size;
        journal->source.size = 0;
        status = emj_scan(journal);
    }
    if (status == EM_OK)
        status = check_kind(journal);
    if (status < 0)
        journal->broken = 1; /* a part of it may have been taken in */
    return status;
}

/* ---- looking into it --------------------------------------------------------------------------------------------- */

uint32_t em_journal_dim(const em_journal *journal)
{
    if (journal == NULL)
        return 0;
    return journal->header.dim;
}

const uint8_t *em_journal_embedding_id(const em_journal *journal)
{
    if (journal == NULL)
        return NULL;
    return journal->header.embedding_id;
}

const uint8_t *em_journal_uuid(const em_journal *journal)
{
    if (journal == NULL)
        return NULL;
    return journal->uuids[journal->uuid].bytes;
}

uint64_t em_journal_bytes(const em_journal *journal)
{
    if (journal == NULL)
        return 0;
    return journal->end;
}

uint64_t em_journal_torn(const em_journal *journal)
{
    if (journal == NULL)
        return 0;
    return journal->torn;
}

uint32_t em_journal_targets(const em_journal *journal)
{
    if (journal == NULL)
        return 0;
    return journal->mixed ? EM_ANY_TARGETS : journal->targets;
}

uint32_t em_journal_count(const em_journal *journal)
{
    if (journal == NULL)
        return 0;
    return journal->live_count;
}

int em_journal_get(const em_journal *journal, uint32_t index, em_live *out)
{
    if (journal == NULL || out == NULL)
        return EM_ERR_NULL;
    if (index >= journal->live_count)
        return EM_ERR_NOT_FOUND;
    const emj_live *each = &journal->live[index];
    memcpy(out->id.uuid, journal->uuids[each->uuid].bytes, 16);
    out->id.counter = each->counter;
    out->of_class = each->of_class;
    out->group = each->group;
    return EM_OK;
}

int em_journal_find(const em_journal *journal, const em_id *id)
{
    if (journal == NULL || id == NULL)
        return EM_ERR_NULL;
    int uuid = emj_uuid_find(journal, id->uuid);
    return uuid < 0 ? EM_ERR_NOT_FOUND : emj_live_find(journal, (uint32_t)uuid, id->counter);
}

/* The record of a live example, its checksums looked at again, and what it says but for the arrays. */
static int expect_example(em_journal *journal, uint32_t index, emj_record *record, emj_example *example)
{
    if (journal == NULL)
        return EM_ERR_NULL;
    if (journal->broken)
        return EM_ERR_STATE;
    if (index >= journal->live_count)
        return EM_ERR_NOT_FOUND;
    journal->source.size = 0; /* what is on the disk now counts */
    int status = emj_expect(&journal->source, journal->live[index].offset, EMJ_IS_EXAMPLE, record);
    return status < 0 ? status : emj_read_example(&journal->source, record, journal->header.dim, example);
}

int em_journal_embedding(em_journal *journal, uint32_t index, int32_t *q20)
{
    emj_record record;
    emj_example example;
    int status = q20 == NULL ? EM_ERR_NULL : expect_example(journal, index, &record, &example);
    if (status < 0)
        return status;
    uint64_t at = record.offset + EMJ_FRAME + example.arrays, size = (uint64_t)journal->header.dim * 4;
    status = emj_check_embedding(&journal->source, at, size);
    if (status == EM_OK)
        status = emj_copy(&journal->source, at, q20, size);
    for (uint32_t i = 0; status == EM_OK && i < journal->header.dim; i++) {
        uint8_t bytes[4];
        memcpy(bytes, &q20[i], 4);
        q20[i] = emj_signed(emj_load32(bytes));
    }
    return status;
}

int em_journal_target(em_journal *journal, uint32_t index, double *target, uint32_t room)
{
    emj_record record;
    emj_example example;
    int status = expect_example(journal, index, &record, &example);
    if (status < 0)
        return status;
    if (example.targets > INT32_MAX || (target != NULL && example.targets > room))
        return EM_ERR_SIZE;
    uint64_t at = record.offset + EMJ_FRAME + example.arrays + ((uint64_t)journal->header.dim * 4 + 7) / 8 * 8;
    status = emj_read_numbers(&journal->source, at, example.targets, NULL);
    if (status == EM_OK && target != NULL)
        status = emj_read_numbers(&journal->source, at, example.targets, target);
    return status < 0 ? status : (int)example.targets;
}

int em_journal_group(em_journal *journal, uint32_t index, char name[256])
{
    emj_record record;
    emj_example example;
    int status = name == NULL ? EM_ERR_NULL : expect_example(journal, index, &record, &example);
    if (status < 0)
        return status;
    if (!example.has_group)
        return EM_ERR_NOT_FOUND;
    memcpy(name, example.group, example.group_size);
    name[example.group_size] = '\0';
    return (int)example.group_size;
}

uint32_t em_journal_classes(const em_journal *journal)
{
    if (journal == NULL)
        return 0;
    return journal->class_count;
}

const char *em_journal_label(const em_journal *journal, uint32_t of_class, size_t *size)
{
    if (journal == NULL || of_class >= journal->class_count || journal->classes[of_class].count == 0)
        return NULL;
    if (size != NULL)
        *size = journal->classes[of_class].size;
    return journal->labels + (size_t)of_class * (journal->limits.label_bytes + 1);
}

uint64_t em_journal_class_count(const em_journal *journal, uint32_t of_class)
{
    if (journal == NULL)
        return 0;
    return of_class < journal->class_count ? journal->classes[of_class].count : 0;
}

int em_journal_class(const em_journal *journal, const char *label)
{
    if (journal == NULL || label == NULL)
        return EM_ERR_NULL;
    return emj_class_find(journal, (const uint8_t *)label, emj_length(label));
}

uint32_t em_journal_seals(const em_journal *journal)
{
    if (journal == NULL)
        return 0;
    return journal->seal_count;
}

int em_journal_seal(const em_journal *journal, uint32_t index, em_seal *out)
{
    if (journal == NULL || out == NULL)
        return EM_ERR_NULL;
    if (index >= journal->seal_count)
        return EM_ERR_NOT_FOUND;
    out->of_class = journal->seals[index].of_class;
    out->count = journal->seals[index].count;
    out->moment = (int)journal->seals[index].moment;
    return EM_OK;
}

int em_journal_seal_sums(em_journal *journal, uint32_t index, double *sum, double *moment)
{
    emj_record record;
    if (journal == NULL)
        return EM_ERR_NULL;
    if (journal->broken)
        return EM_ERR_STATE;
    if (index >= journal->seal_count)
        return EM_ERR_NOT_FOUND;
    const emj_seal *seal = &journal->seals[index];
    if (moment != NULL && !seal->moment)
        return EM_ERR_STATE;
    journal->source.size = 0;
    int status = emj_expect(&journal->source, seal->offset, EMJ_IS_SEAL, &record);
    if (status < 0 || record.frame.length != seal->length)
        return status < 0 ? status : EM_ERR_DAMAGED;
    uint64_t dim = journal->header.dim, packed = seal->moment ? dim * (dim + 1) / 2 : 0;
    uint64_t at = record.offset + EMJ_FRAME + seal->length - 8 * (dim + packed);
    status = emj_read_numbers(&journal->source, at, dim + packed, NULL);
    if (status == EM_OK && sum != NULL)
        status = emj_read_numbers(&journal->source, at, dim, sum);
    if (status == EM_OK && moment != NULL)
        status = emj_read_numbers(&journal->source, at + 8 * dim, packed, moment);
    return status;
}
