/* golden_check.h - what the checks of golden vectors share: numbers of a case in the types of C, and comparing. */
#ifndef GOLDEN_CHECK_H
#define GOLDEN_CHECK_H

#include "../../native/edgemeta.h"
#include "golden.h"

typedef struct golden_run {
    const em_kernels *kernels;
    const char *file;
    const golden_case *now;    /* the case */
    const golden_case *taught; /* the last of kind `facts` */
    const char *scratch;       /* a file name for a journal, or NULL */
    unsigned long checks, failures;
    void *kept[256]; /* memory that ends with the case */
    int count;
} golden_run;

/* Memory of `size` bytes aligned to EM_ALIGN, of zeros, until the case ends. Ends the program where there is none. */
void *golden_memory(golden_run *run, size_t size);
void golden_release(golden_run *run);

/* Blocks of the case. A name that is not there ends the program: the files and this program do not fit. */
const golden_block *given(golden_run *run, const char *name);
const golden_block *answer(golden_run *run, const char *name);
double number(golden_run *run, const char *name); /* the only one of a given block */

/* Their numbers in another type. */
float *floats(golden_run *run, const golden_block *block);
int32_t *ints(golden_run *run, const golden_block *block);
uint32_t *unsigneds(golden_run *run, const golden_block *block);

/* Count a check; where it fails say what of the case is not right. Returns `right`. */
int check(golden_run *run, int right, const char *what);
int check_status(golden_run *run, int status, int expected);
/* Number by number: the same (nan and nan are). */
int check_same(golden_run *run, const double *found, const char *name);
int check_same_floats(golden_run *run, const float *found, const char *name);
int check_same_ints(golden_run *run, const int32_t *found, const char *name);
int check_same_bytes(golden_run *run, const uint8_t *found, size_t size, const char *name);
/* 1e-9 of the norm of what is expected; infinite and nan where that is. */
int check_near(golden_run *run, const double *found, const char *name);
int check_near_numbers(golden_run *run, const double *found, const double *expected, size_t count, const char *name);

/* golden_files.c */
void check_image(golden_run *run);
void check_headbin(golden_run *run);
void check_journal_read(golden_run *run);
void check_journal_write(golden_run *run);

/* golden_heads.c */
void check_means(golden_run *run);
void check_ridge(golden_run *run);
void check_lda(golden_run *run);
void check_means_left_out(golden_run *run);
void check_ridge_left_out(golden_run *run);
void check_lda_left_out(golden_run *run);
void check_ridge_lambda(golden_run *run);
void check_state(golden_run *run);
void check_regression(golden_run *run);

#endif
