/* edgemeta.h - the core of edgemeta in C99: statistics, heads, scoring, image fitting, the journal, head.bin.
 *
 * The NumPy code of the Python package is the reference; this computes the same: statistics to the bit, weights to 1e-9
 * (relative to their norm), pixels within one level.
 *
 * The rules, everywhere:
 *   - Nothing allocates. What needs memory has a function ..._size() beside it; the caller gives that much, aligned to
 *     EM_ALIGN bytes, and may give it back (or reuse it) when done.
 *   - Nothing is global. A function touches what it is given; two threads may work on two objects at once.
 *   - A function returns 0 or a count, or a negative em_status; em_status_name() names it. After an error everything is
 *     as it was before the call.
 *   - Counts of classes, dimensions and examples are uint32_t; lengths of memory are size_t; offsets in files uint64_t.
 *   - Embeddings are Q20: int32_t in units of 2^-20, of norm at most 1 (SPEC.md, "Numbers").
 */
#ifndef EDGEMETA_H
#define EDGEMETA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EM_VERSION "0.1.0"

#if defined(EM_BUILD) && defined(__GNUC__)
#define EM_API __attribute__((visibility("default")))
#else
#define EM_API
#endif
#define EM_ALIGN 64           /* bytes; what memory for an object is aligned to */
#define EM_MAX_DIM 65536u     /* numbers of an embedding */
#define EM_Q20 1048576        /* 2^20: 1.0 in Q20 */
#define EM_EXACT_EXAMPLES 8192u /* up to here every sum is exact in float64 */

/* ---- status -------------------------------------------------------------------------------------------------- */

enum em_status {
    EM_OK = 0,
    EM_ERR_NULL = -1,        /* a pointer that must not be NULL is */
    EM_ERR_SIZE = -2,        /* a length, count or dimension that cannot be */
    EM_ERR_VALUE = -3,       /* NaN, infinity, or a number out of its range */
    EM_ERR_MEMORY = -4,      /* less memory than ..._size() says, or not aligned */
    EM_ERR_STATE = -5,       /* the object is not in a state for this call */
    EM_ERR_FULL = -6,        /* no room left for one more */
    EM_ERR_NOT_FOUND = -7,   /* there is no such class or example */
    EM_ERR_SINGULAR = -8,    /* the system has no solution that could be trusted */
    EM_ERR_IO = -9,          /* a callback said no */
    EM_ERR_DAMAGED = -10,    /* a file is damaged, and not by a cut of power */
    EM_ERR_VERSION = -11,    /* a file of a later version */
    EM_ERR_MISMATCH = -12,   /* a file of another backbone, or of another kind */
    EM_ERR_UNSUPPORTED = -13 /* this build or machine cannot do that */
};

/* "EM_ERR_SIZE" for -2, and so on; "EM_ERR_UNKNOWN" for what is no status. Never NULL. */
EM_API const char *em_status_name(int status);

/* ---- kernels: one implementation an instruction set ----------------------------------------------------------- */

typedef struct em_kernels em_kernels;

/* The kernels of that name ("portable", "sse2", "avx2", "avx512", "neon", "neon-dotprod"); NULL where this build or this
 * machine has none such. With name NULL: those that the environment variable EDGEMETA_KERNELS names (hosted builds only), else the
 * fastest of the machine. The answer is constant and never to be freed. */
EM_API const em_kernels *em_kernels_find(const char *name);
EM_API const char *em_kernels_name(const em_kernels *kernels);

/* ---- images: crop, resize, colour order ------------------------------------------------------------------------ */

enum em_pixels {
    EM_PIXELS_RGB = 1,  /* 3 bytes a pixel */
    EM_PIXELS_BGR = 2,
    EM_PIXELS_RGBA = 3, /* straight alpha, laid over white: (c * a + 255 * (255 - a) + 127) / 255 */
    EM_PIXELS_GREY = 4, /* 1 byte, replicated */
    EM_PIXELS_NV12 = 5, /* a plane of Y, then a plane of interleaved U and V at half size; BT.601, limited range */
    EM_PIXELS_YUYV = 6  /* Y U Y V; BT.601, limited range */
};

/* BT.601, limited range, is this, pixel by pixel of the crop and before it is resized; each pixel takes the U and V of its
 * pair (YUYV) or block of 2 x 2 (NV12). With c = 298 (Y - 16), d = U - 128 and e = V - 128:
 *     R = (c + 409 e + 128) / 256, G = (c - 100 d - 208 e + 128) / 256, B = (c + 516 d + 128) / 256
 * each rounded down and then limited to 0 to 255. */

/* An image in memory. stride: bytes from one row to the next (0: rows lie close together). chroma: the plane of U and V
 * for NV12, with its stride; NULL: right after the plane of Y (stride * height bytes on), its rows as far apart as those of Y
 * unless chroma_stride says otherwise. NV12 has even height and width, YUYV even width. */
typedef struct em_image {
    const uint8_t *pixels;
    uint32_t width, height;
    size_t stride;
    int format; /* em_pixels */
    const uint8_t *chroma;
    size_t chroma_stride;
} em_image;

/* Bytes of scratch memory that em_fit() needs for images of this size and format fitted to that size; 0 where no image
 * can have it. */
EM_API size_t em_fit_size(uint32_t width, uint32_t height, int format, uint32_t to_width, uint32_t to_height);

/* The image to RGB uint8 (to_height, to_width, 3): centre crop to the target's shape (`edgemeta.imaging.crop_box`),
 * antialiased bilinear resizing (Pillow's BILINEAR, within one level), RGB order. memory: em_fit_size() bytes.
 * out: 3 * to_width * to_height bytes, not overlapping the image. */
EM_API int em_fit(const em_kernels *kernels, const em_image *image, uint32_t to_width, uint32_t to_height, void *memory,
           size_t size, uint8_t *out);

/* The same, each value as a float: out[i] = (pixel / 255 - mean[channel]) / std[channel], HWC. mean and std have 3 numbers; both
 * NULL: pixel / 255. */
EM_API int em_fit_float(const em_kernels *kernels, const em_image *image, uint32_t to_width, uint32_t to_height,
                 const float *mean, const float *std, void *memory, size_t size, float *out);

/* ---- head.bin: what a bundle says, read in place ----------------------------------------------------------------- */

/* Pointers lead into the bytes that were read; NULL and 0 where a part is missing. */
typedef struct em_headbin {
    const uint8_t *embedding_id; /* 32 bytes */
    uint32_t dim;
    uint32_t height, width; /* of the graph's input */
    double power, scale, lambda, temperature;
    int l2, balance, has_lambda;
    const char *head;         /* ends in a zero */
    const float *centre;      /* (dim,) */
    const float *background;  /* (5, 6, 9) */
    const float *prior_means; /* (prior_count, dim) */
    const char *prior_labels; /* prior_count labels, each ended by a zero */
    uint32_t prior_count;
    double prior_within, prior_between;
} em_headbin;

/* Read a head.bin of `size` bytes at `bytes` (aligned to EM_ALIGN). Checks everything that SPEC.md says of it. */
EM_API int em_headbin_read(const void *bytes, size_t size, em_headbin *out);

/* Find head.bin in a whole bundle (a zip, in memory or mapped, aligned to EM_ALIGN): *offset and *length of its bytes. */
EM_API int em_bundle_find_head(const void *bundle, size_t size, size_t *offset, size_t *length);

/* ---- the journal ----------------------------------------------------------------------------------------------- */

/* The host's side: where a journal's bytes lie. Each callback returns 0, or a negative number for what it cannot do;
 * the call that needed it then returns EM_ERR_IO. `user` is handed to all of them. */

/* What `replace` gives to the journal to write the new bytes with: piece after piece, from the first byte on. */
typedef int (*em_write)(void *sink, const void *data, size_t size);
/* What `replace` calls, once. place: 16 bytes that tell where the new bytes lie (see em_store.place). */
typedef int (*em_make)(void *maker, const uint8_t *place, em_write write, void *sink);

typedef struct em_store {
    void *user;
    /* The length in bytes. EM_ERR_NOT_FOUND: there is no journal yet. */
    int (*size)(void *user, uint64_t *size);
    /* Read `size` bytes from `offset`; all of them are there. */
    int (*read)(void *user, uint64_t offset, void *data, size_t size);
    /* Write at the end, which is `offset`. A transaction comes in pieces; a part may be left when it fails. */
    int (*append)(void *user, uint64_t offset, const void *data, size_t size);
    /* Return when everything is durable. */
    int (*sync)(void *user);
    /* Cut the end off. */
    int (*truncate)(void *user, uint64_t size);
    /* Put what make(maker, place, write, sink) writes in the place of everything, durably, all or nothing. While it
     * runs, `read` gives the old bytes. When make returns a negative number, leave the old bytes and return that
     * number. */
    int (*replace)(void *user, em_make make, void *maker);
    /* 16 bytes that are others for a copy of the journal, on another machine or in another file. NULL: zeros. */
    int (*place)(void *user, uint8_t *place);
    /* Random bytes: 16 for a uuid, taken as they are, or 8 for a salt. */
    int (*random)(void *user, void *data, size_t size);
} em_store;

/* How much a journal in memory holds; decides em_journal_size(). A file that needs more is EM_ERR_FULL. */
typedef struct em_journal_limits {
    uint32_t examples;      /* live ones, 1 to 2^31 - 1; undo needs room for what comes back beside what is there */
    uint32_t classes;       /* labels with an example, at least 1 */
    uint32_t label_bytes;   /* of the longest label, 1 to 255; 0: 255 */
    uint32_t uuids;         /* identities that the ids in the file name, at least 1 */
    uint32_t ranges;        /* runs of forgotten ids */
    uint32_t undo;          /* transactions that can be taken back, the newest */
    uint32_t seals;         /* seals, and */
    uint32_t seal_ranges;   /* runs of ids in all of them; while a seal comes or is undone, of one more */
} em_journal_limits;

enum em_journal_mode {
    EM_JOURNAL_READ = 0,  /* nothing is written; sees what is there when it opens, or reloads */
    EM_JOURNAL_WRITE = 1, /* every call is durable when it returns */
    EM_JOURNAL_LAZY = 2,  /* em_journal_sync() makes it durable; each session has ids of its own */
    /* As EM_JOURNAL_WRITE, on raw flash (SPEC.md, "Raw flash"). `size` gives the size of the region, in which what was
     * never written reads 0xFF; `append` gets whole blocks at multiples of the block; `truncate` is not called and may be
     * NULL. After a cut of power the torn bytes stay, and writing goes on behind them. A write that fails can only be
     * taken back by opening again (EM_ERR_STATE until then). EM_ERR_FULL: no room in the region; compact. `replace`
     * writes to another region, which from then on is the one that is read. */
    EM_JOURNAL_FLASH = 3
};

#define EM_ANY_TARGETS UINT32_MAX

typedef struct em_journal_options {
    const uint8_t *embedding_id; /* 32 bytes; NULL: any, which makes no new journal */
    uint32_t dim;                /* 0: any, which makes no new journal */
    int mode;                    /* em_journal_mode */
    uint32_t targets;            /* numbers in the target of every example, 0: none, EM_ANY_TARGETS */
    uint32_t block;              /* EM_JOURNAL_FLASH: bytes programmed at once, a power of two, 8 to 4,096; else 0 */
} em_journal_options;

typedef struct em_journal em_journal;

/* Bytes of memory for these limits; 0 where they cannot be. */
EM_API size_t em_journal_size(const em_journal_limits *limits);

/* Open what lies in `store`, or make it in one of the writing modes. A torn end is cut off by a writer and passed over
 * by a reader. EM_ERR_NOT_FOUND, EM_ERR_DAMAGED (run `edgemeta repair`), EM_ERR_VERSION, EM_ERR_MISMATCH (another
 * backbone, or other targets), EM_ERR_FULL, EM_ERR_IO. Needs no closing: the store does. */
EM_API int em_journal_open(void *memory, size_t size, const em_journal_limits *limits, const em_store *store,
                           const em_journal_options *options, em_journal **out);

typedef struct em_id {
    uint8_t uuid[16];
    uint64_t counter;
} em_id;

typedef struct em_live {
    em_id id;
    uint32_t of_class;
    uint64_t group; /* equal for examples of one group, 0 without a group: a hash of its name */
} em_live;

typedef struct em_seal {
    uint32_t of_class;
    uint64_t count;
    int moment; /* whether the sum of z z^T is there */
} em_seal;

/* Texts end in a zero and are UTF-8 in NFC, which is not checked here; everything else that SPEC.md asks of a label is,
 * so far as that needs no Unicode tables. */
typedef struct em_example {
    const char *label;
    const char *group;    /* NULL: none */
    const char *variant;  /* the name of the bundle's graph; NULL: none */
    const int32_t *q20;   /* (dim,), each at most 2^20 in size */
    const double *target; /* (targets,), finite; NULL: none */
    uint32_t targets;
} em_example;

EM_API uint32_t em_journal_dim(const em_journal *journal);
EM_API const uint8_t *em_journal_embedding_id(const em_journal *journal); /* 32 bytes */
EM_API const uint8_t *em_journal_uuid(const em_journal *journal);         /* 16 bytes: gave ids last */
EM_API uint64_t em_journal_bytes(const em_journal *journal);              /* up to the end of the last transaction */
EM_API uint64_t em_journal_torn(const em_journal *journal); /* bytes of a torn end that was found when it was opened */
EM_API uint32_t em_journal_targets(const em_journal *journal); /* EM_ANY_TARGETS where none is known, or they differ */

/* Live examples in the order of the file, 0 to count - 1. Any change of the journal may renumber them. */
EM_API uint32_t em_journal_count(const em_journal *journal);
EM_API int em_journal_get(const em_journal *journal, uint32_t index, em_live *out);
EM_API int em_journal_find(const em_journal *journal, const em_id *id); /* its index */
/* These read the file, and look at its checksums again: the embedding, (dim,); the target, its length returned (0:
 * none), at most `room` numbers; the group's name, its length returned, EM_ERR_NOT_FOUND without one. */
EM_API int em_journal_embedding(em_journal *journal, uint32_t index, int32_t *q20);
EM_API int em_journal_target(em_journal *journal, uint32_t index, double *target, uint32_t room);
EM_API int em_journal_group(em_journal *journal, uint32_t index, char name[256]);

/* Classes by number, 0 to classes - 1. A number stays with its label while that has examples; then it is free (count
 * 0, no label) and may be given again. */
EM_API uint32_t em_journal_classes(const em_journal *journal);
EM_API const char *em_journal_label(const em_journal *journal, uint32_t of_class, size_t *size); /* size may be NULL */
EM_API uint64_t em_journal_class_count(const em_journal *journal, uint32_t of_class); /* live and sealed */
EM_API int em_journal_class(const em_journal *journal, const char *label);            /* its number */

/* Seals: examples that only the sums are left of. sum: (dim,) in units of 1. moment: (dim (dim + 1) / 2,), the upper
 * triangle row by row, or NULL. */
EM_API uint32_t em_journal_seals(const em_journal *journal);
EM_API int em_journal_seal(const em_journal *journal, uint32_t index, em_seal *out);
EM_API int em_journal_seal_sums(em_journal *journal, uint32_t index, double *sum, double *moment);

/* What changes the journal, each call one transaction; on an error nothing has changed. After a sync that failed, or a
 * write that could not be taken back, all of them are EM_ERR_STATE until it is opened again. EM_ERR_FULL: the limits
 * must have room for what comes beside what is there, also where it takes the place of that. */
/* Teach. ids (count,) or NULL: what they are called; they come last in the order. */
EM_API int em_journal_append(em_journal *journal, const em_example *examples, uint32_t count, em_id *ids);
EM_API int em_journal_forget(em_journal *journal, const em_id *ids, uint32_t count);
/* With its sealed examples. */
EM_API int em_journal_forget_label(em_journal *journal, const char *label);
/* Give an example another label. *fresh unless NULL: what it is called now; it comes last in the order. */
EM_API int em_journal_relabel(em_journal *journal, const em_id *id, const char *label, em_id *fresh);
/* Take back the newest transaction that is no undo and was not undone. Returns how many examples came back, under new
 * ids, last in the order; seals come back too. Statistics are to be made anew. EM_ERR_NOT_FOUND: nothing to undo. */
EM_API int em_journal_undo(em_journal *journal);
/* Take over what another open journal holds and what it forgot: a union by id, in which forgetting wins. Returns how
 * many examples came, last in the order. EM_ERR_MISMATCH: another backbone or other targets. EM_ERR_VALUE: the two
 * contradict each other (one id with two contents, a seal of which a part is forgotten or shared). */
EM_API int em_journal_merge(em_journal *journal, em_journal *other);
/* Rewrite it without what was forgotten; nothing before can be undone. */
EM_API int em_journal_compact(em_journal *journal);
/* Compact, and keep only the sums of these examples of a class (and the sum of z z^T, where `moment` is not 0) and of
 * what was sealed of it before. Returns how many were sealed; 0, and nothing is written, where that would not be smaller.
 * They cannot be told apart any more: only the class can be forgotten. EM_ERR_MISMATCH: examples with targets. memory:
 * em_journal_seal_size() bytes, needed while it runs. */
EM_API size_t em_journal_seal_size(const em_journal *journal, int moment);
EM_API int em_journal_seal_class(em_journal *journal, uint32_t of_class, const em_id *ids, uint32_t count, int moment,
                                 void *memory, size_t size);
EM_API int em_journal_sync(em_journal *journal);

/* For a reader: take in what was written since. EM_ERR_STATE where the journal has become shorter or another one;
 * after any error the journal must be opened again. */
EM_API int em_journal_reload(em_journal *journal);

/* A store in a file of a POSIX system, with a lock beside it (NAME.lock) for a writer. EM_ERR_UNSUPPORTED elsewhere. */
EM_API size_t em_posix_size(void);
/* EM_ERR_STATE: another program writes it. EM_ERR_NOT_FOUND: no such file to read, or no such folder. */
EM_API int em_posix_open(void *memory, size_t size, const char *path, int readonly, em_store *out);
/* For a reader: 1 where the name leads to another file by now; open that one then. */
EM_API int em_posix_replaced(const em_store *store);
EM_API void em_posix_close(em_store *store);

/* ---- normalisation --------------------------------------------------------------------------------------------- */

/* A raw embedding as the graph gives it, to Q20 (SPEC.md, "From a raw embedding to a stored one"). centre: (dim,) or NULL.
 * EM_ERR_VALUE for NaN, infinity, no direction, a norm above 1 + 1e-5, and for what is not zero and would be stored as zero. */
EM_API int em_normalise(const float *raw, uint32_t dim, const float *centre, double power, int l2, double scale, int32_t *q20);

/* ---- statistics -------------------------------------------------------------------------------------------------- */

/* Of each class n and s = sum z, over all sum z^2 and, if asked for, G = sum z z^T as tiles of 8 rows and 4 columns of its
 * lower triangle. Exact up to EM_EXACT_EXAMPLES examples, in any order. */
typedef struct em_statistics em_statistics;

EM_API size_t em_statistics_size(uint32_t dim, uint32_t classes, int moment);
/* memory: em_statistics_size() bytes. Everything is zero. */
EM_API int em_statistics_init(void *memory, size_t size, const em_kernels *kernels, uint32_t dim, uint32_t classes, int moment,
                       em_statistics **out);
/* Add or remove `count` examples q20 (count, dim) of a class (0 to classes - 1). EM_ERR_VALUE for numbers beyond the grid,
 * EM_ERR_NOT_FOUND for a removal of more than there are. */
EM_API int em_statistics_add(em_statistics *statistics, uint32_t of_class, const int32_t *q20, uint32_t count);
EM_API int em_statistics_remove(em_statistics *statistics, uint32_t of_class, const int32_t *q20, uint32_t count);
/* Add all that another holds: the same dimension, as many classes, both with G or both without. */
EM_API int em_statistics_merge(em_statistics *statistics, const em_statistics *other);

EM_API uint32_t em_statistics_dim(const em_statistics *statistics);
EM_API uint32_t em_statistics_classes(const em_statistics *statistics);
EM_API uint32_t em_statistics_count(const em_statistics *statistics, uint32_t of_class);
EM_API const double *em_statistics_sum(const em_statistics *statistics, uint32_t of_class); /* (dim,) in units of 1 */
EM_API double em_statistics_squares(const em_statistics *statistics);                       /* tr G */
/* G as a full row-major (dim, dim). EM_ERR_STATE without a moment. */
EM_API int em_statistics_moment(const em_statistics *statistics, double *full);

/* ---- scoring ------------------------------------------------------------------------------------------------------- */

/* scores[n, c] = weights[c] z[n] + bias[c], float32 row-major: weights (classes, dim), bias (classes,), z (count, dim), scores
 * (count, classes). */
EM_API int em_score(const em_kernels *kernels, const float *weights, const float *bias, uint32_t classes, uint32_t dim,
             const float *z, uint32_t count, float *scores);
/* The same in float64, for weights so large, or embeddings so much alike, that float32 cancels what tells them apart. */
EM_API int em_score_f64(const em_kernels *kernels, const double *weights, const double *bias, uint32_t classes, uint32_t dim,
                 const double *z, uint32_t count, double *scores);
/* The class of one embedding: its index, the first of equals; *score unless NULL. */
EM_API int em_best(const em_kernels *kernels, const float *weights, const float *bias, uint32_t classes, uint32_t dim,
            const float *z, float *score);

/* Smaller weights for thousands of classes: float16 (IEEE binary16), or int8 with one factor a class. */
EM_API int em_pack_f16(const float *weights, size_t count, uint16_t *out);
EM_API int em_pack_i8(const float *weights, uint32_t classes, uint32_t dim, int8_t *out, float *factors);
EM_API int em_score_f16(const em_kernels *kernels, const uint16_t *weights, const float *bias, uint32_t classes, uint32_t dim,
                 const float *z, uint32_t count, float *scores);
EM_API int em_score_i8(const em_kernels *kernels, const int8_t *weights, const float *factors, const float *bias,
                uint32_t classes, uint32_t dim, const float *z, uint32_t count, float *scores);

/* ---- heads: from facts to weights ------------------------------------------------------------------------------------ */

/* The taught set as a head sees it, as `edgemeta.heads.Facts`. counts (classes,), all above 0. sums (classes, dim).
 * squares: tr G. moment (dim, dim) or NULL. z (total, dim) in units of 1 and y (total,) its classes, or NULL. */
typedef struct em_facts {
    uint32_t classes, dim, total;
    const double *counts, *sums;
    double squares;
    const double *moment;
    const double *z;
    const uint32_t *y;
} em_facts;

enum em_means_kind { EM_EUCLIDEAN = 1, EM_COSINE = 2, EM_CENTRED = 3 };

/* weights (classes, dim) and bias (classes,), float64: score = weights z + bias. They need the sums alone. */
EM_API int em_means(int kind, const em_facts *facts, double *weights, double *bias);

/* Ridge on one-hot targets with a free bias (edgemeta/heads/ridge.py): the dual, from the examples, where total < dim and
 * they are there, else the primal, from the moment. lambda: absolute, on the sums; never below 1e-8 squares / dim. */
EM_API size_t em_ridge_size(uint32_t classes, uint32_t dim, uint32_t total, int from_examples);
EM_API int em_ridge(const em_kernels *kernels, const em_facts *facts, double lambda, int balance, void *memory, size_t size,
             double *weights, double *bias);

/* Shrinkage LDA (edgemeta/heads/lda.py). shrinkage: 0 to 1, or negative: OAS. independent: how many examples count when
 * those of a burst count as one (total if none belong together). */
EM_API size_t em_lda_size(uint32_t classes, uint32_t dim, uint32_t total, int from_examples);
EM_API int em_lda(const em_kernels *kernels, const em_facts *facts, double shrinkage, uint32_t independent, void *memory,
           size_t size, double *weights, double *bias);

/* ---- leaving out: how good is what was taught ------------------------------------------------------------------------ */

/* Scores (total, classes) of each example by the head without that example's group (lambda, shrinkage and centre held as for
 * all), rows as in facts->z; -INFINITY for a class that is gone without the group. They need the examples, z and y. groups:
 * (total,), equal numbers for examples that belong together, or NULL: each on its own. */
EM_API size_t em_means_leave_out_size(const em_facts *facts, const uint32_t *groups);
EM_API int em_means_leave_out(int kind, const em_facts *facts, const uint32_t *groups, void *memory, size_t size,
                              double *scores);
EM_API size_t em_ridge_leave_out_size(const em_facts *facts, const uint32_t *groups);
EM_API int em_ridge_leave_out(const em_kernels *kernels, const em_facts *facts, const uint32_t *groups, double lambda,
                              int balance, void *memory, size_t size, double *scores);
/* squares: (total,) or NULL: z^T S z of each example with S the inverse covariance without its group; with 2 times a score it
 * makes the squared distance to a mean, squares - 2 scores. */
EM_API size_t em_lda_leave_out_size(const em_facts *facts, const uint32_t *groups);
EM_API int em_lda_leave_out(const em_kernels *kernels, const em_facts *facts, const uint32_t *groups, double shrinkage,
                            uint32_t independent, void *memory, size_t size, double *scores, double *squares);
/* The lambda that ridge chooses for itself by leaving out (edgemeta/heads/ridge.py, `lambda_=None`), above its floor. */
EM_API size_t em_ridge_choose_size(const em_facts *facts, const uint32_t *groups);
EM_API int em_ridge_choose(const em_kernels *kernels, const em_facts *facts, const uint32_t *groups, int balance,
                           void *memory, size_t size, double *lambda);

/* ---- states: what a device holds while it learns --------------------------------------------------------------------- */

/* A state keeps the statistics and the weights of a head together, and changes both with each example: no fit from
 * nothing, no cost that grows with what was taught before where the mathematics does not need it.
 *   EM_STATE_MEANS   n and s of each class: class means. An add costs O(dim) (centred: O(classes dim)).
 *   EM_STATE_DUAL    ridge from at most `examples` examples, which it holds, and the Cholesky factor of their N x N system: an
 *                    add appends a row to it, a removal deletes one. O(N dim + N^2).
 *   EM_STATE_PRIMAL  ridge from n, s, G and the factor L D L^T of the dim x dim system, whose rank-one up- and downdates
 *                    move the weights by a gain. O(dim^2), however many examples there were.
 * The statistics are exact, so removing is the inverse of adding to the bit; the weights are within 1e-9 (norm-relative, at
 * lambda >= 1e-3) of a fit from nothing, which the state makes itself from time to time to stay so. Ridge without a floor
 * that follows the statistics: lambda is what the options say, and above 0. */
enum em_state_kind { EM_STATE_MEANS = 1, EM_STATE_DUAL = 2, EM_STATE_PRIMAL = 3 };

typedef struct em_state_options {
    int kind;          /* em_state_kind */
    uint32_t dim;      /* numbers of an embedding */
    uint32_t classes;  /* at most so many; numbers 0 to classes - 1 */
    uint32_t examples; /* at most so many; EM_STATE_DUAL alone */
    int means;         /* em_means_kind; EM_STATE_MEANS alone */
    double lambda;     /* absolute, on the sums; ridge alone. One that float64 cannot tell from 0 counts as one that it can */
    int balance;       /* each class's target divided by its count; ridge alone */
} em_state_options;

typedef struct em_state em_state;

/* Bytes for such a state; 0 where there can be none. */
EM_API size_t em_state_size(const em_state_options *options);
/* memory: em_state_size() bytes. Nothing is taught. */
EM_API int em_state_init(void *memory, size_t size, const em_kernels *kernels, const em_state_options *options,
                         em_state **out);

/* Teach one embedding q20 (dim,). EM_ERR_NOT_FOUND for a class that cannot be, EM_ERR_VALUE for numbers beyond the grid,
 * EM_ERR_FULL where a dual state holds as many as it can. */
EM_API int em_state_add(em_state *state, uint32_t of_class, const int32_t *q20);
/* Forget one: as if it had never been seen. A dual state removes the first of the class with these very numbers;
 * EM_ERR_NOT_FOUND where there is none such. The others take the caller's word for the numbers. */
EM_API int em_state_remove(em_state *state, uint32_t of_class, const int32_t *q20);
/* Add many, of the classes given for each, and fit once (unless they are few): the way to open what was taught. All or none. */
EM_API int em_state_add_many(em_state *state, const uint32_t *of_class, const int32_t *q20, uint32_t count);
/* Sums of examples that are gone, as a seal has them: sum (dim,), moment as em_journal_seal_sums() gives it, or NULL where
 * the state is of means. EM_ERR_UNSUPPORTED for a dual state. */
EM_API int em_state_add_sums(em_state *state, uint32_t of_class, uint64_t count, const double *sum, const double *moment);
/* Make the weights anew from the statistics, as em_ridge() would. Hosts need it only to choose when it happens. */
EM_API int em_state_refit(em_state *state);
/* The same with another lambda. */
EM_API int em_state_set_lambda(em_state *state, double lambda);

/* Everything live in a journal, classes by their numbers there, into a state in which nothing was taught (else EM_ERR_STATE).
 * scratch: (dim,). EM_ERR_NOT_FOUND where a number is not below the state's classes (em_journal_limits.classes tells how many
 * there can be); EM_ERR_FULL; EM_ERR_UNSUPPORTED for seals that such a state cannot have; EM_ERR_MISMATCH for another dim. */
EM_API int em_state_load(em_state *state, em_journal *journal, int32_t *scratch);

EM_API uint32_t em_state_count(const em_state *state, uint32_t of_class);
EM_API uint32_t em_state_total(const em_state *state);
EM_API const double *em_state_sum(const em_state *state, uint32_t of_class); /* (dim,), exact */
/* As of a head: score = weights z + bias; of a class without examples the bias is -INFINITY. weights float64 (classes, dim),
 * written out; bias (classes,). */
EM_API int em_state_weights(const em_state *state, double *weights, double *bias);
/* The class of an embedding z (dim,), float32 in units of 1: its number, the first of equals. By float32 weights: where
 * examples are so much alike that scores differ by less than about 1e-6 of ||weights|| ||z||, use em_state_weights() and
 * em_score_f64(). scores: (classes,) or NULL;
 * -INFINITY for a class without examples. EM_ERR_STATE where nothing is taught. */
EM_API int em_state_predict(const em_state *state, const float *z, float *scores);
/* From q20 (dim,). */
EM_API int em_state_predict_q20(const em_state *state, const int32_t *q20, float *scores);

/* ---- regression: numbers instead of classes -------------------------------------------------------------------------- */

/* Ridge on targets with a free bias (edgemeta/regression/ridge.py): y = weights z + bias, from examples z (total, dim) and
 * targets (total, outputs), in the dual where total < dim. lambda: absolute, or negative: of each output by the evidence.
 * weights (outputs, dim), bias (outputs,), lambdas (outputs,), sigma (outputs,): the standard deviation of what the
 * inputs do not explain, NaN where there are too few examples to say. */
EM_API size_t em_regression_size(uint32_t dim, uint32_t outputs, uint32_t total);
EM_API int em_regression(const em_kernels *kernels, const double *z, const double *targets, uint32_t total, uint32_t dim,
                         uint32_t outputs, double lambda, void *memory, size_t size, double *weights, double *bias,
                         double *lambdas, double *sigma);
/* Standard deviations std (count, outputs) of new targets at `at` (count, dim): z, lambdas and sigma as em_regression() was
 * given and gave them. memory: em_regression_size() bytes. */
EM_API int em_regression_std(const em_kernels *kernels, const double *z, uint32_t total, uint32_t dim, uint32_t outputs,
                             const double *lambdas, const double *sigma, const double *at, uint32_t count, void *memory,
                             size_t size, double *std);

#ifdef __cplusplus
}
#endif
#endif
