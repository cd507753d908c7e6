/* fuzz.h - what the fuzz targets share. Each is one file with LLVMFuzzerTestOneInput(); linked with libFuzzer it is
 * fuzzed (`make fuzz`), linked with replay.c it reads files, on machines that have no libFuzzer.
 *
 * The first bytes of an input say what is done with the rest; the targets say how. Everything in these files is guarded
 * by CRCs, which no mutation gets right: with RESEAL they are made right before the parser sees the bytes. */
#ifndef EDGEMETA_FUZZ_H
#define EDGEMETA_FUZZ_H

#include "../../../native/journal.h"

#include <stdio.h>
#include <stdlib.h>

enum { RESEAL = 1, REBUILD = 2, TIGHT = 4, PLAIN = 8 };
#define BLOCK(flags) (8u << (flags) / 16 % 10) /* of raw flash */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the input is. */
#define REQUIRE(condition)                                                                                               \
    do {                                                                                                                 \
        if (!(condition)) {                                                                                              \
            (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                \
            abort();                                                                                                     \
        }                                                                                                                \
    } while (0)

/* Memory of exactly that size, aligned to EM_ALIGN, so that a step beyond it is seen; free() it. The second: a copy. */
void *fuzz_memory(size_t size);
uint8_t *fuzz_copy(const void *data, size_t size);

/* A journal in memory. */
typedef struct fuzz_disk {
    uint8_t *data;
    size_t size, shown; /* shown: how much of it the store says there is */
    unsigned calls, fails; /* fails: which call of a callback fails, from 1 on; 0: none */
    int missing;           /* there is no journal yet */
    uint32_t block;        /* of raw flash: what is written at once, and once only; 0: a file */
    uint8_t random;
} fuzz_disk;

void fuzz_disk_begin(fuzz_disk *disk, const uint8_t *data, size_t size);
/* The same as raw flash, with some blocks more. */
void fuzz_disk_flash(fuzz_disk *disk, const uint8_t *data, size_t size, uint32_t block);
void fuzz_disk_end(fuzz_disk *disk);
em_store fuzz_disk_store(fuzz_disk *disk);

/* The limits that an input asks for, and an open journal, with its memory to free; NULL where it does not open. */
typedef struct fuzz_open {
    em_journal *journal;
    void *memory;
    em_store store;
    int status;
} fuzz_open;

void fuzz_journal_open(fuzz_open *out, fuzz_disk *disk, int mode, int flags);
void fuzz_journal_close(fuzz_open *open);
/* Everything that can be read, read. */
void fuzz_journal_read(em_journal *journal);

/* The CRCs of a journal made right; with REBUILD in flags what commit records say of their transactions too. */
void fuzz_reseal_journal(uint8_t *data, size_t size, int flags);

#endif
