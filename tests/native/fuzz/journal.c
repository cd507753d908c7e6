/* journal.c - em_journal_open() in every mode, everything read, then all that changes a journal, one after another.
 * Byte 0: RESEAL, REBUILD, TIGHT, PLAIN, and the BLOCK of raw flash. Byte 1: which call of a callback fails, 0: none. The rest is a journal. */
#include "fuzz.h"

/* One input: the journal as it came, too, which is merged into what became of it. */
typedef struct attempt {
    const uint8_t *data;
    size_t size;
    int flags;
    em_journal *journal;
} attempt;

/* What a writer left is what a reader finds. */
static void compare(em_journal *journal, fuzz_disk *disk, int flags)
{
    fuzz_open reader;
    fuzz_journal_open(&reader, disk, EM_JOURNAL_READ, flags);
    REQUIRE(reader.status == EM_OK);
    REQUIRE(em_journal_count(reader.journal) == em_journal_count(journal));
    REQUIRE(em_journal_seals(reader.journal) == em_journal_seals(journal));
    REQUIRE(em_journal_bytes(reader.journal) == em_journal_bytes(journal));
    fuzz_journal_read(reader.journal);
    fuzz_journal_close(&reader);
}

static int teach(attempt *self)
{
    em_journal *journal = self->journal;
    em_example examples[2];
    double target = 0.5;
    int32_t *q20 = calloc(em_journal_dim(journal), sizeof *q20);
    uint32_t targets = em_journal_targets(journal);
    REQUIRE(q20 != NULL);
    memset(examples, 0, sizeof examples);
    q20[0] = EM_Q20;
    examples[0].label = "new";
    examples[0].q20 = examples[1].q20 = q20;
    examples[1].label = "b";
    examples[1].group = "group";
    examples[1].variant = "variant";
    for (int i = 0; i < 2 && targets == 1; i++) {
        examples[i].target = &target;
        examples[i].targets = 1;
    }
    int status = em_journal_append(journal, examples, 2, NULL);
    free(q20);
    return status;
}

static int forget(attempt *self)
{
    em_live live;
    int status = em_journal_get(self->journal, em_journal_count(self->journal) / 2, &live);
    return status == EM_OK ? em_journal_forget(self->journal, &live.id, 1) : status;
}

static int forget_label(attempt *self)
{
    const char *label = em_journal_label(self->journal, 0, NULL);
    return label != NULL ? em_journal_forget_label(self->journal, label) : EM_ERR_NOT_FOUND;
}

static int relabel(attempt *self)
{
    em_live live;
    int status = em_journal_get(self->journal, 0, &live);
    return status == EM_OK ? em_journal_relabel(self->journal, &live.id, "b", NULL) : status;
}

static int undo(attempt *self)
{
    return em_journal_undo(self->journal);
}

static int compact(attempt *self)
{
    return em_journal_compact(self->journal);
}

static int merge(attempt *self)
{
    fuzz_disk disk;
    fuzz_open other;
    fuzz_disk_begin(&disk, self->data, self->size);
    fuzz_journal_open(&other, &disk, EM_JOURNAL_READ, self->flags & ~TIGHT);
    int status = other.status == EM_OK ? em_journal_merge(self->journal, other.journal) : other.status;
    fuzz_journal_close(&other);
    fuzz_disk_end(&disk);
    return status;
}

/* Up to four examples of the class of the first. */
static int seal(attempt *self)
{
    em_live live;
    em_id ids[4];
    uint32_t count = 0, of_class = 0;
    int moment = em_journal_count(self->journal) % 2 == 0;
    for (uint32_t i = 0; count < 4 && em_journal_get(self->journal, i, &live) == EM_OK; i++) {
        of_class = count == 0 ? live.of_class : of_class;
        if (live.of_class == of_class)
            ids[count++] = live.id;
    }
    size_t size = em_journal_seal_size(self->journal, moment);
    void *memory = fuzz_memory(size);
    int status = em_journal_seal_class(self->journal, of_class, ids, count, moment, memory, size);
    free(memory);
    return status;
}

static void change(attempt *self, fuzz_disk *disk)
{
    static int (*const steps[])(attempt *) = {teach, forget, relabel,      undo, undo, merge,   undo,
                                              seal,  teach,  forget_label, undo, undo, compact, forget};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        uint32_t count = em_journal_count(self->journal), seals = em_journal_seals(self->journal);
        int status = steps[i](self);
        REQUIRE(status >= 0 ||
                (em_journal_count(self->journal) == count && em_journal_seals(self->journal) == seals));
        fuzz_journal_read(self->journal);
        if (disk->fails == 0 && status >= 0)
            compare(self->journal, disk, self->flags);
    }
}

static void try_mode(attempt *self, int mode, uint8_t failing)
{
    fuzz_disk disk;
    fuzz_open opened;
    if (mode == EM_JOURNAL_FLASH)
        fuzz_disk_flash(&disk, self->data, self->size, BLOCK(self->flags));
    else
        fuzz_disk_begin(&disk, self->data, self->size);
    disk.fails = failing;
    fuzz_journal_open(&opened, &disk, mode, self->flags);
    self->journal = opened.journal;
    if (opened.status == EM_OK) {
        fuzz_journal_read(opened.journal);
        if (mode != EM_JOURNAL_READ && em_journal_dim(opened.journal) <= 256) /* the others only cost time */
            change(self, &disk);
    }
    fuzz_journal_close(&opened);
    fuzz_disk_end(&disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t *bytes = fuzz_copy(data + 2, size - 2);
    attempt input = {bytes, size - 2, data[0], NULL};
    if (input.flags & RESEAL)
        fuzz_reseal_journal(bytes, input.size, input.flags);
    for (int mode = EM_JOURNAL_READ; mode <= EM_JOURNAL_FLASH; mode++)
        try_mode(&input, mode, data[1]);
    free(bytes);
    return 0;
}
