/* journal.c - em_journal_open() in every mode, everything read, then taught, forgotten, undone and compacted.
 * Byte 0: RESEAL, REBUILD, TIGHT, PLAIN. Byte 1: which call of a callback fails, 0: none. The rest is a journal. */
#include "fuzz.h"

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

static int teach(em_journal *journal)
{
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

static int forget(em_journal *journal)
{
    em_live live;
    int status = em_journal_get(journal, em_journal_count(journal) / 2, &live);
    return status == EM_OK ? em_journal_forget(journal, &live.id, 1) : status;
}

static int forget_label(em_journal *journal)
{
    const char *label = em_journal_label(journal, 0, NULL);
    return label != NULL ? em_journal_forget_label(journal, label) : EM_ERR_NOT_FOUND;
}

static void write(em_journal *journal, fuzz_disk *disk, int flags)
{
    static int (*const steps[])(em_journal *) = {teach,           forget, forget_label,       em_journal_undo,
                                                 em_journal_undo, teach,  em_journal_compact, forget};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        uint32_t count = em_journal_count(journal);
        int status = steps[i](journal);
        REQUIRE(status >= 0 || em_journal_count(journal) == count);
        fuzz_journal_read(journal);
        if (disk->fails == 0 && status >= 0)
            compare(journal, disk, flags);
    }
}

static void try_mode(const uint8_t *data, size_t size, int mode, int flags, uint8_t failing)
{
    fuzz_disk disk;
    fuzz_open opened;
    fuzz_disk_begin(&disk, data, size);
    disk.fails = failing;
    fuzz_journal_open(&opened, &disk, mode, flags);
    if (opened.status == EM_OK) {
        fuzz_journal_read(opened.journal);
        if (mode != EM_JOURNAL_READ && em_journal_dim(opened.journal) <= 256) /* the others only cost time */
            write(opened.journal, &disk, flags);
    }
    fuzz_journal_close(&opened);
    fuzz_disk_end(&disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    int flags = data[0];
    uint8_t failing = data[1], *bytes = fuzz_copy(data + 2, size - 2);
    if (flags & RESEAL)
        fuzz_reseal_journal(bytes, size - 2, flags);
    for (int mode = EM_JOURNAL_READ; mode <= EM_JOURNAL_LAZY; mode++)
        try_mode(bytes, size - 2, mode, flags, failing);
    free(bytes);
    return 0;
}
