/* reload.c - em_journal_reload(): a reader opens the first part of a journal, then more of it is there.
 * Byte 0: RESEAL, REBUILD, TIGHT, PLAIN. Bytes 1 and 2: the length of the first part in units of 8. The rest is a
 * journal. */
#include "fuzz.h"

static void compare(em_journal *journal, fuzz_disk *disk, int flags)
{
    fuzz_open whole;
    fuzz_journal_open(&whole, disk, EM_JOURNAL_READ, flags);
    REQUIRE(whole.status == EM_OK);
    REQUIRE(em_journal_count(whole.journal) == em_journal_count(journal));
    REQUIRE(em_journal_seals(whole.journal) == em_journal_seals(journal));
    REQUIRE(em_journal_bytes(whole.journal) == em_journal_bytes(journal));
    REQUIRE(em_journal_targets(whole.journal) == em_journal_targets(journal));
    fuzz_journal_close(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_disk disk;
    fuzz_open opened;
    if (size < 3)
        return 0;
    int flags = data[0];
    size_t first = (size_t)emj_load16(data + 1) * 8;
    fuzz_disk_begin(&disk, data + 3, size -= 3);
    if (flags & RESEAL)
        fuzz_reseal_journal(disk.data, size, flags);
    disk.shown = first < size ? first : size;
    fuzz_journal_open(&opened, &disk, EM_JOURNAL_READ, flags);
    if (opened.status == EM_OK) {
        fuzz_journal_read(opened.journal);
        disk.shown = size;
        int status = em_journal_reload(opened.journal);
        REQUIRE(status <= 0);
        if (status == EM_OK) {
            fuzz_journal_read(opened.journal);
            compare(opened.journal, &disk, flags);
        }
    }
    fuzz_journal_close(&opened);
    fuzz_disk_end(&disk);
    return 0;
}
