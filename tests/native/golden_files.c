/* golden_files.c - images, head.bin and the journal: pixels and bytes. */
#include "golden_check.h"

#include <stdlib.h>
#include <string.h>

/* ---- images --------------------------------------------------------------------------------------------------- */

void check_image(golden_run *run)
{
    const golden_block *pixels = given(run, "pixels"), *mean = golden_find(run->now, "given", "mean");
    uint32_t width = (uint32_t)number(run, "to_width"), height = (uint32_t)number(run, "to_height");
    em_image image = {0};
    size_t size, bytes = (size_t)3 * width * height;
    uint8_t *rgb = golden_memory(run, bytes);
    void *memory;
    image.pixels = pixels->bytes;
    image.width = (uint32_t)number(run, "width");
    image.height = (uint32_t)number(run, "height");
    image.stride = (size_t)number(run, "stride");
    image.format = (int)number(run, "format");
    image.chroma = number(run, "chroma") < 0.0 ? NULL : pixels->bytes + (size_t)number(run, "chroma");
    image.chroma_stride = (size_t)number(run, "chroma_stride");
    size = em_fit_size(image.width, image.height, image.format, width, height);
    memory = golden_memory(run, size);
    if (check_status(run, em_fit(run->kernels, &image, width, height, memory, size, rgb), EM_OK))
        check_same_bytes(run, rgb, bytes, "rgb");
    if (mean != NULL) {
        float *out = golden_memory(run, bytes * sizeof *out);
        check_status(run, em_fit_float(run->kernels, &image, width, height, floats(run, mean),
                                       floats(run, given(run, "std")), memory, size, out), EM_OK);
        check_same_floats(run, out, "floats");
    }
}

/* ---- head.bin ------------------------------------------------------------------------------------------------- */

/* Bytes where they are aligned. */
static void *aligned(golden_run *run, const golden_block *bytes)
{
    void *out = golden_memory(run, bytes->count);
    memcpy(out, bytes->bytes, bytes->count);
    return out;
}

/* An array of head.bin that may be missing. */
static void check_array(golden_run *run, const float *found, const char *name)
{
    if (check(run, (found == NULL) == (answer(run, name)->count == 0), name) && found != NULL)
        check_same_floats(run, found, name);
}

void check_headbin(golden_run *run)
{
    const golden_block *file = given(run, "file"), *labels;
    em_headbin head;
    int status = em_headbin_read(aligned(run, file), file->count, &head);
    if (!check_status(run, status, (int)answer(run, "status")->numbers[0]) || status != EM_OK)
        return;
    const int32_t size[] = {(int32_t)head.dim, (int32_t)head.height, (int32_t)head.width};
    const int32_t flags[] = {head.l2, head.balance, head.has_lambda};
    const double numbers[] = {head.power, head.scale, head.lambda, head.temperature};
    const double spread[] = {head.prior_within, head.prior_between};
    check_same_bytes(run, head.embedding_id, 32, "embedding_id");
    check_same_ints(run, size, "size");
    check_same_ints(run, flags, "flags");
    check_same(run, numbers, "numbers");
    check_same_bytes(run, (const uint8_t *)head.head, strlen(head.head), "head");
    check_array(run, head.centre, "centre");
    check_array(run, head.background, "background");
    check_array(run, head.prior_means, "prior_means");
    labels = answer(run, "prior_labels");
    check(run, (size_t)head.prior_count * head.dim == answer(run, "prior_means")->count, "prior_count");
    if (check(run, (head.prior_labels == NULL) == (labels->count == 0), "prior_labels") && labels->count)
        check_same_bytes(run, (const uint8_t *)head.prior_labels, labels->count, "prior_labels");
    check_same(run, spread, "prior_spread");
}

/* ---- the journal ---------------------------------------------------------------------------------------------- */

/* A store in memory; what is random comes from `random`, byte after byte. */
typedef struct storage {
    uint8_t *data;
    size_t size, room;
    int there;
    const golden_block *random;
    size_t taken;
} storage;

static int store_size(void *user, uint64_t *size)
{
    storage *in = user;
    *size = in->size;
    return in->there ? 0 : EM_ERR_NOT_FOUND;
}

static int store_read(void *user, uint64_t offset, void *data, size_t size)
{
    storage *in = user;
    if (offset > in->size || size > in->size - offset)
        return -1;
    memcpy(data, in->data + offset, size);
    return 0;
}

static int store_append(void *user, uint64_t offset, const void *data, size_t size)
{
    storage *in = user;
    if (offset != in->size || size > in->room - in->size)
        return -1;
    memcpy(in->data + in->size, data, size);
    in->size += size;
    return 0;
}

static int store_sync(void *user)
{
    (void)user;
    return 0;
}

static int store_truncate(void *user, uint64_t size)
{
    ((storage *)user)->size = (size_t)size;
    return 0;
}

static int store_write(void *sink, const void *data, size_t size)
{
    return store_append(sink, ((storage *)sink)->size, data, size);
}

static int store_replace(void *user, em_make make, void *maker)
{
    static const uint8_t nowhere[16];
    storage *in = user, made = *in;
    int status;
    made.data = malloc(made.room);
    made.size = 0;
    status = made.data == NULL ? -1 : make(maker, nowhere, store_write, &made);
    if (status >= 0) {
        memcpy(in->data, made.data, made.size);
        in->size = made.size;
        in->there = 1;
    }
    free(made.data);
    return status;
}

static int store_random(void *user, void *data, size_t size)
{
    storage *in = user;
    if (in->random == NULL || size > in->random->count - in->taken)
        return -1;
    memcpy(data, in->random->bytes + in->taken, size);
    in->taken += size;
    return 0;
}

static em_store store_of(storage *in)
{
    em_store store = {0};
    store.user = in;
    store.size = store_size;
    store.read = store_read;
    store.append = store_append;
    store.sync = store_sync;
    store.truncate = store_truncate;
    store.replace = store_replace;
    store.random = store_random;
    return store;
}

static int open_journal(golden_run *run, const em_store *store, uint32_t dim, int mode, em_journal **out)
{
    em_journal_limits limits = {64, 16, 0, 16, 64, 32, 8, 64};
    em_journal_options options = {0};
    uint8_t *backbone = golden_memory(run, 32);
    em_store *kept = golden_memory(run, sizeof *kept);
    size_t size = em_journal_size(&limits);
    for (int i = 0; i < 32; i++)
        backbone[i] = (uint8_t)i;
    *kept = *store;
    options.embedding_id = backbone;
    options.dim = dim;
    options.mode = mode;
    options.targets = EM_ANY_TARGETS;
    return em_journal_open(golden_memory(run, size), size, &limits, kept, &options, out);
}

/* The next line of a text, ended by a zero; *at moves on. */
static char *next_line(golden_run *run, const golden_block *text, size_t *at)
{
    size_t end = *at;
    char *line;
    while (end < text->count && text->bytes[end] != '\n')
        end++;
    line = golden_memory(run, end - *at + 1);
    memcpy(line, text->bytes + *at, end - *at);
    *at = end + 1;
    return line;
}

static char **lines_of(golden_run *run, const golden_block *text)
{
    char **lines = golden_memory(run, (text->count + 1) * sizeof *lines);
    size_t at = 0, count = 0;
    while (at < text->count)
        lines[count++] = next_line(run, text, &at);
    return lines;
}

/* What is live. */
static void check_live(golden_run *run, em_journal *journal)
{
    const golden_block *rows = answer(run, "q20"), *counters = answer(run, "counters"), *targets = answer(run, "targets");
    char **labels = lines_of(run, answer(run, "labels")), **groups = lines_of(run, answer(run, "groups"));
    uint32_t dim = em_journal_dim(journal), count = em_journal_count(journal);
    size_t outputs = targets->axes > 1 ? targets->sizes[1] : 0;
    int32_t *q20 = golden_memory(run, (size_t)count * dim * sizeof *q20);
    double *found = golden_memory(run, (count * outputs + 1) * sizeof *found);
    if (!check(run, count == counters->count && (size_t)count * dim == rows->count, "how many examples"))
        return;
    for (uint32_t i = 0; i < count; i++) {
        char group[256] = "";
        em_live live;
        check_status(run, em_journal_get(journal, i, &live), EM_OK);
        check(run, live.id.counter == (uint64_t)counters->numbers[i], "counters");
        check(run, strcmp(em_journal_label(journal, live.of_class, NULL), labels[i]) == 0, "labels");
        check_status(run, em_journal_embedding(journal, i, q20 + (size_t)i * dim), EM_OK);
        check(run, (em_journal_group(journal, i, group) == EM_ERR_NOT_FOUND) == (groups[i][0] == 0), "groups");
        check(run, strcmp(group, groups[i]) == 0, "groups");
        check(run, em_journal_target(journal, i, found + i * outputs, (uint32_t)outputs) == (int)outputs, "targets");
    }
    check_same_ints(run, q20, "q20");
    check_same(run, found, "targets");
}

static void check_classes(golden_run *run, em_journal *journal)
{
    const golden_block *counts = answer(run, "class_counts");
    char **labels = lines_of(run, answer(run, "class_labels"));
    size_t there = 0;
    for (uint32_t c = 0; c < em_journal_classes(journal); c++)
        there += em_journal_class_count(journal, c) > 0;
    check(run, there == counts->count, "how many classes");
    for (size_t i = 0; i < counts->count; i++) {
        int of_class = em_journal_class(journal, labels[i]);
        if (check(run, of_class >= 0, "class_labels"))
            check(run, em_journal_class_count(journal, (uint32_t)of_class) == (uint64_t)counts->numbers[i], "class_counts");
    }
}

static void check_seals(golden_run *run, em_journal *journal)
{
    const golden_block *counts = answer(run, "seal_counts"), *moments = answer(run, "seal_moments");
    char **labels = lines_of(run, answer(run, "seal_labels"));
    size_t dim = em_journal_dim(journal), triangle = dim * (dim + 1) / 2, at = 0;
    double *sums = golden_memory(run, (counts->count * dim + 1) * sizeof *sums);
    double *found = golden_memory(run, (counts->count * triangle + 1) * sizeof *found);
    if (!check(run, em_journal_seals(journal) == counts->count, "how many seals"))
        return;
    for (uint32_t i = 0; i < counts->count; i++) {
        em_seal seal;
        check_status(run, em_journal_seal(journal, i, &seal), EM_OK);
        check(run, seal.count == (uint64_t)counts->numbers[i], "seal_counts");
        check(run, strcmp(em_journal_label(journal, seal.of_class, NULL), labels[i]) == 0, "seal_labels");
        check_status(run, em_journal_seal_sums(journal, i, sums + i * dim, seal.moment ? found + at : NULL), EM_OK);
        at += seal.moment ? triangle : 0;
    }
    check_same(run, sums, "seal_sums");
    if (check(run, at == moments->count, "seal_moments"))
        check_same(run, found, "seal_moments");
}

void check_journal_read(golden_run *run)
{
    const golden_block *file = given(run, "file");
    storage in = {0};
    em_store store = store_of(&in);
    em_journal *journal = NULL;
    int status;
    in.data = file->bytes;
    in.size = in.room = file->count;
    in.there = 1;
    status = open_journal(run, &store, (uint32_t)number(run, "dim"), EM_JOURNAL_READ, &journal);
    if (!check_status(run, status, (int)answer(run, "status")->numbers[0]) || status != EM_OK)
        return;
    check(run, em_journal_torn(journal) == (uint64_t)answer(run, "torn")->numbers[0], "torn");
    check_live(run, journal);
    check_classes(run, journal);
    check_seals(run, journal);
}

/* ---- writing: steps as reference.py numbers them -------------------------------------------------------------- */

enum { APPEND = 1, FORGET, FORGET_LABEL, UNDO, COMPACT, RELABEL, SEAL };

static int append(golden_run *run, em_journal *journal, uint32_t first, uint32_t count)
{
    const int32_t *label = ints(run, given(run, "label")), *group = ints(run, given(run, "group"));
    const int32_t *q20 = ints(run, given(run, "q20"));
    char **labels = lines_of(run, given(run, "labels")), **groups = lines_of(run, given(run, "groups"));
    em_example examples[8];
    memset(examples, 0, sizeof examples);
    for (uint32_t i = 0; i < count && i < 8; i++) {
        examples[i].label = labels[label[first + i]];
        examples[i].group = group[first + i] < 0 ? NULL : groups[group[first + i]];
        examples[i].q20 = q20 + (size_t)(first + i) * em_journal_dim(journal);
    }
    return em_journal_append(journal, examples, count, NULL);
}

static int forget(em_journal *journal, uint32_t first, uint32_t count)
{
    em_id ids[8];
    for (uint32_t i = 0; i < count && i < 8; i++) {
        em_live live;
        int status = em_journal_get(journal, first + i, &live);
        if (status < 0)
            return status;
        ids[i] = live.id;
    }
    return em_journal_forget(journal, ids, count);
}

static int relabel(golden_run *run, em_journal *journal, uint32_t index, uint32_t label)
{
    em_live live;
    int status = em_journal_get(journal, index, &live);
    return status < 0 ? status
                      : em_journal_relabel(journal, &live.id, lines_of(run, given(run, "labels"))[label], NULL);
}

/* All that is live of a label. */
static int seal(golden_run *run, em_journal *journal, uint32_t label, int moment)
{
    int of_class = em_journal_class(journal, lines_of(run, given(run, "labels"))[label]);
    size_t size = em_journal_seal_size(journal, moment);
    em_id ids[32];
    uint32_t count = 0;
    for (uint32_t i = 0; i < em_journal_count(journal) && count < 32; i++) {
        em_live live;
        if (em_journal_get(journal, i, &live) == EM_OK && (int)live.of_class == of_class)
            ids[count++] = live.id;
    }
    return of_class < 0 ? of_class
                        : em_journal_seal_class(journal, (uint32_t)of_class, ids, count, moment,
                                                golden_memory(run, size), size);
}

static int take_step(golden_run *run, em_journal *journal, const int32_t *step)
{
    uint32_t a = (uint32_t)step[1], b = (uint32_t)step[2];
    switch (step[0]) {
    case APPEND:
        return append(run, journal, a, b);
    case FORGET:
        return forget(journal, a, b);
    case FORGET_LABEL:
        return em_journal_forget_label(journal, lines_of(run, given(run, "labels"))[a]);
    case UNDO:
        return em_journal_undo(journal);
    case RELABEL:
        return relabel(run, journal, a, b);
    case SEAL:
        return seal(run, journal, a, (int)b);
    default:
        return em_journal_compact(journal);
    }
}

static void take_steps(golden_run *run, em_journal *journal)
{
    const golden_block *steps = given(run, "steps");
    const int32_t *step = ints(run, steps);
    for (size_t i = 0; i < steps->sizes[0]; i++, step += 3)
        check(run, take_step(run, journal, step) >= 0, "a step");
}

/* The same examples in the same order. */
static void check_alike(golden_run *run, em_journal *a, em_journal *b)
{
    size_t dim = em_journal_dim(a);
    int32_t *one = golden_memory(run, dim * sizeof *one), *other = golden_memory(run, dim * sizeof *other);
    if (!check(run, em_journal_count(a) == em_journal_count(b) && dim == em_journal_dim(b), "the file's examples"))
        return;
    for (uint32_t i = 0; i < em_journal_count(a); i++) {
        em_live x, y;
        check(run, em_journal_get(a, i, &x) == EM_OK && em_journal_get(b, i, &y) == EM_OK, "the file's examples");
        check(run, em_journal_embedding(a, i, one) == EM_OK && em_journal_embedding(b, i, other) == EM_OK, "the file");
        check(run, memcmp(one, other, dim * sizeof *one) == 0, "the file's embeddings");
        check(run, strcmp(em_journal_label(a, x.of_class, NULL), em_journal_label(b, y.of_class, NULL)) == 0,
              "the file's labels");
    }
}

/* The same steps on a file of this system, which then reads as the one in memory. */
static void check_file(golden_run *run, em_journal *expected)
{
    size_t size = em_posix_size();
    void *memory = golden_memory(run, size);
    em_journal *journal = NULL;
    em_store store;
    remove(run->scratch);
    if (!check_status(run, em_posix_open(memory, size, run->scratch, 0, &store), EM_OK))
        return;
    if (check_status(run, open_journal(run, &store, em_journal_dim(expected), EM_JOURNAL_WRITE, &journal), EM_OK))
        take_steps(run, journal);
    em_posix_close(&store);
    if (!check_status(run, em_posix_open(memory, size, run->scratch, 1, &store), EM_OK))
        return;
    if (check_status(run, open_journal(run, &store, em_journal_dim(expected), EM_JOURNAL_READ, &journal), EM_OK))
        check_alike(run, expected, journal);
    em_posix_close(&store);
    remove(run->scratch);
}

void check_journal_write(golden_run *run)
{
    storage in = {0};
    em_store store = store_of(&in);
    em_journal *journal = NULL;
    in.room = 1 << 16;
    in.data = golden_memory(run, in.room);
    in.random = given(run, "random");
    if (!check_status(run, open_journal(run, &store, (uint32_t)given(run, "q20")->sizes[1], EM_JOURNAL_WRITE, &journal),
                      EM_OK))
        return;
    take_steps(run, journal);
    check_same_bytes(run, in.data, in.size, "file");
    if (run->scratch != NULL)
        check_file(run, journal);
}
