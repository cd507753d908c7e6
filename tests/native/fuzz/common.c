/* common.c - see fuzz.h. */
#define _POSIX_C_SOURCE 200112L

#include "fuzz.h"

void *fuzz_memory(size_t size)
{
    void *memory = NULL;
    REQUIRE(posix_memalign(&memory, EM_ALIGN, size ? size : 1) == 0);
    return memory;
}

uint8_t *fuzz_copy(const void *data, size_t size)
{
    uint8_t *copy = fuzz_memory(size);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static int fails(fuzz_disk *disk)
{
    return ++disk->calls == disk->fails;
}

static int disk_size(void *user, uint64_t *size)
{
    fuzz_disk *disk = user;
    *size = disk->shown;
    if (fails(disk))
        return -1;
    return disk->missing ? EM_ERR_NOT_FOUND : 0;
}

static int disk_read(void *user, uint64_t offset, void *data, size_t size)
{
    fuzz_disk *disk = user;
    REQUIRE(offset <= disk->size && size <= disk->size - offset);
    memcpy(data, disk->data + offset, size);
    return fails(disk) ? -1 : 0;
}

static void grow(fuzz_disk *disk, const void *data, size_t size)
{
    disk->data = realloc(disk->data, disk->size + size + 1);
    REQUIRE(disk->data != NULL);
    if (size > 0)
        memcpy(disk->data + disk->size, data, size);
    disk->shown = disk->size += size;
}

/* Whole blocks, that were never written before. */
static void program(fuzz_disk *disk, uint64_t offset, const void *data, size_t size)
{
    REQUIRE(offset % disk->block == 0 && offset <= disk->size && size <= disk->size - offset);
    for (size_t i = 0; i < size; i++)
        REQUIRE(disk->data[offset + i] == 0xFF);
    memcpy(disk->data + offset, data, size);
}

static int disk_append(void *user, uint64_t offset, const void *data, size_t size)
{
    fuzz_disk *disk = user;
    int failing = fails(disk);
    if (disk->block != 0) {
        REQUIRE(size % disk->block == 0);
        program(disk, offset, data, failing ? size / 2 : size);
        return failing ? -1 : 0;
    }
    REQUIRE(offset == disk->size);
    grow(disk, data, failing ? size / 2 : size);
    return failing ? -1 : 0;
}

static int disk_sync(void *user)
{
    return fails(user) ? -1 : 0;
}

static int disk_truncate(void *user, uint64_t size)
{
    fuzz_disk *disk = user;
    REQUIRE(size <= disk->size);
    if (fails(disk))
        return -1;
    disk->shown = disk->size = (size_t)size;
    return 0;
}

static int to_sink(void *sink, const void *data, size_t size)
{
    grow(sink, data, size);
    return 0;
}

/* To whole blocks, and at least 4 and 4,096 bytes more. */
static void add_room(fuzz_disk *disk)
{
    size_t block = disk->block, more = block < 1024u ? 4096u : 4u * block;
    size_t room = (block - disk->size % block) % block + more;
    uint8_t *blank = fuzz_memory(room);
    memset(blank, 0xFF, room);
    grow(disk, blank, room);
    free(blank);
}

static int disk_replace(void *user, em_make make, void *maker)
{
    static const uint8_t place[16] = {0};
    fuzz_disk *disk = user, fresh;
    memset(&fresh, 0, sizeof fresh);
    int status = fails(disk) ? -1 : make(maker, place, to_sink, &fresh);
    if (status < 0) {
        free(fresh.data);
        return status;
    }
    free(disk->data);
    disk->data = fresh.data;
    disk->missing = 0;
    disk->shown = disk->size = fresh.size;
    if (disk->block != 0)
        add_room(disk);
    return 0;
}

static int disk_place(void *user, uint8_t *place)
{
    memset(place, 0, 16);
    return fails(user) ? -1 : 0;
}

static int disk_random(void *user, void *data, size_t size)
{
    fuzz_disk *disk = user;
    memset(data, ++disk->random, size);
    return fails(disk) ? -1 : 0;
}

void fuzz_disk_begin(fuzz_disk *disk, const uint8_t *data, size_t size)
{
    memset(disk, 0, sizeof *disk);
    grow(disk, data, size);
    disk->random = 0x70;
}

void fuzz_disk_flash(fuzz_disk *disk, const uint8_t *data, size_t size, uint32_t block)
{
    fuzz_disk_begin(disk, data, size);
    disk->block = block;
    add_room(disk);
}

void fuzz_disk_end(fuzz_disk *disk)
{
    free(disk->data);
}

em_store fuzz_disk_store(fuzz_disk *disk)
{
    em_store store;
    memset(&store, 0, sizeof store); /* callbacks that come later stay NULL */
    store.user = disk;
    store.size = disk_size;
    store.read = disk_read;
    store.append = disk_append;
    store.sync = disk_sync;
    store.truncate = disk->block != 0 ? NULL : disk_truncate;
    store.replace = disk_replace;
    store.place = disk_place;
    store.random = disk_random;
    return store;
}

/* ---- the journal ------------------------------------------------------------------------------------------------- */

void fuzz_journal_open(fuzz_open *out, fuzz_disk *disk, int mode, int flags)
{
    em_journal_limits limits;
    em_journal_options options;
    memset(&limits, 0, sizeof limits);
    memset(&options, 0, sizeof options);
    limits.examples = flags & TIGHT ? 4 : 200;
    limits.classes = flags & TIGHT ? 2 : 50;
    limits.label_bytes = flags & TIGHT ? 8 : 0;
    limits.uuids = flags & TIGHT ? 2 : 50;
    limits.ranges = flags & TIGHT ? 2 : 100;
    limits.undo = flags & TIGHT ? 2 : 20;
    limits.seals = flags & TIGHT ? 1 : 20;
    limits.seal_ranges = flags & TIGHT ? 2 : 100;
    options.mode = mode;
    options.targets = flags & PLAIN ? 0 : EM_ANY_TARGETS;
    options.block = mode == EM_JOURNAL_FLASH ? disk->block : 0;
    size_t size = em_journal_size(&limits);
    out->store = fuzz_disk_store(disk);
    out->memory = fuzz_memory(size);
    out->journal = NULL;
    out->status = em_journal_open(out->memory, size, &limits, &out->store, &options, &out->journal);
    REQUIRE(out->status <= 0 && (out->status == EM_OK) == (out->journal != NULL));
}

void fuzz_journal_close(fuzz_open *open)
{
    free(open->memory);
}

static void read_example(em_journal *journal, uint32_t index, int32_t *q20)
{
    em_live live;
    char name[256];
    REQUIRE(em_journal_get(journal, index, &live) == EM_OK);
    REQUIRE(em_journal_find(journal, &live.id) == (int)index);
    REQUIRE(em_journal_label(journal, live.of_class, NULL) != NULL);
    int embedding = em_journal_embedding(journal, index, q20), targets = em_journal_target(journal, index, NULL, 0);
    REQUIRE(embedding <= 0 && em_journal_group(journal, index, name) <= 255);
    for (uint32_t i = 0; embedding == EM_OK && i < em_journal_dim(journal); i++)
        REQUIRE(q20[i] <= EM_Q20 && q20[i] >= -EM_Q20);
    if (targets > 0) {
        double *numbers = fuzz_memory((size_t)targets * sizeof *numbers);
        int again = em_journal_target(journal, index, numbers, (uint32_t)targets);
        REQUIRE(again == targets || again == EM_ERR_IO); /* this read may be the one that fails */
        free(numbers);
    }
}

static void read_seal(em_journal *journal, uint32_t index)
{
    em_seal seal;
    size_t dim = em_journal_dim(journal);
    REQUIRE(em_journal_seal(journal, index, &seal) == EM_OK);
    REQUIRE(em_journal_label(journal, seal.of_class, NULL) != NULL);
    double *sum = fuzz_memory(dim * sizeof *sum);
    double *moment = seal.moment && dim < 64 ? fuzz_memory(dim * (dim + 1) / 2 * sizeof *moment) : NULL;
    REQUIRE(em_journal_seal_sums(journal, index, sum, moment) <= 0);
    free(sum);
    free(moment);
}

void fuzz_journal_read(em_journal *journal)
{
    int32_t *q20 = fuzz_memory(em_journal_dim(journal) * sizeof *q20);
    uint64_t counted = 0, sealed = 0;
    size_t size;
    for (uint32_t i = 0; i < em_journal_count(journal); i++)
        read_example(journal, i, q20);
    for (uint32_t i = 0; i < em_journal_seals(journal); i++) {
        em_seal seal;
        read_seal(journal, i);
        (void)em_journal_seal(journal, i, &seal);
        sealed += seal.count;
    }
    for (uint32_t c = 0; c < em_journal_classes(journal); c++) {
        const char *label = em_journal_label(journal, c, &size);
        REQUIRE((label != NULL) == (em_journal_class_count(journal, c) != 0));
        if (label != NULL && strlen(label) == size)
            REQUIRE(em_journal_class(journal, label) == (int)c);
        counted += em_journal_class_count(journal, c);
    }
    REQUIRE(counted == em_journal_count(journal) + sealed);
    free(q20);
}

/* ---- CRCs that are right ------------------------------------------------------------------------------------------- */

typedef struct sealing {
    uint64_t start, number;
    uint32_t seed, checksum, records;
} sealing;

/* One record of `length` bytes of payload. */
static void reseal_record(sealing *state, uint8_t *record, uint64_t at, uint32_t length, int flags)
{
    uint8_t *payload = record + EMJ_FRAME, *end = record + emj_record_size(length) - 4;
    int commit = emj_load16(record + 4) == EMJ_IS_COMMIT && length == EMJ_COMMIT;
    if (commit && flags & REBUILD) {
        if (state->number != 0)
            emj_store64(payload, state->number + 1);
        emj_store64(payload + 24, state->start);
        emj_store32(payload + 32, state->records);
        emj_store32(payload + 40, state->checksum);
    }
    emj_store32(record + 12, em_crc32(state->seed, record, 12));
    emj_store32(end, em_crc32(emj_load32(record + 12), payload, (size_t)(end - payload)));
    state->checksum = em_crc32(state->checksum, end, 4);
    state->records++;
    if (commit) {
        state->number = emj_load64(payload);
        state->start = at + emj_record_size(length);
        state->checksum = state->seed;
        state->records = 0;
    }
}

void fuzz_reseal_journal(uint8_t *data, size_t size, int flags)
{
    sealing state = {EMJ_HEADER, 0, 0, 0, 0};
    if (size < EMJ_HEADER)
        return;
    state.seed = state.checksum = em_crc32(0, data, 124);
    emj_store32(data + 124, state.seed);
    for (uint64_t at = EMJ_HEADER; size - at >= EMJ_FRAME;) {
        uint32_t length = emj_load32(data + at + 8);
        if (memcmp(data + at, "eRec", 4) != 0 || emj_record_size(length) > size - at) {
            at += 8;
            if (at > size)
                return;
            continue;
        }
        reseal_record(&state, data + at, at, length, flags);
        at += emj_record_size(length);
    }
}
