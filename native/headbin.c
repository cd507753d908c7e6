/* headbin.c - head.bin, read in place, and where it lies in a bundle. SPEC.md has both layouts.
 *
 * * All of it is checked but, of the labels of prior classes, what would need Unicode tables (journal_text.c). What
 * the manifest says is not looked at: that both agree is checked by `edgemeta verify` and by the Python reader. */
#include "journal.h"

#define HEAD_SIZE 192u
#define ROW_SIZE 32u
#define MAX_HEAD ((size_t)64 << 20)
#define MAX_SIDE 8192u
#define MAX_LABELS 10000u
#define LARGEST 1e300 /* of a number in the manifest, which head.bin repeats */

enum { FLAG_L2 = 1, FLAG_BALANCE = 2, FLAG_LAMBDA = 4, FLAG_CENTRE = 8, FLAG_BACKGROUND = 16, FLAG_PRIOR = 32 };

/* The kinds of arrays, in their order: whose flag, and the size of a number. */
static const struct {
    uint32_t flag, dtype, bytes;
} kinds[] = {{FLAG_CENTRE, 1, 4}, {FLAG_BACKGROUND, 1, 4}, {FLAG_PRIOR, 1, 4}, {FLAG_PRIOR, 2, 1}, {FLAG_PRIOR, 3, 8}};

enum { CENTRE, BACKGROUND, MEANS, LABELS, SPREAD, KINDS };

typedef struct array {
    const uint8_t *at;
    uint64_t count;
} array;

static int is_above(double value, double most)
{
    return emj_finite(value) && value > 0 && value <= most;
}

static double load_f64(const uint8_t *at)
{
    return emj_double(emj_load64(at));
}

static double load_f32(const uint8_t *at)
{
    uint32_t bits = emj_load32(at);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int is_little_endian(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 1;
}

static int is_word_character(uint8_t c)
{
    int letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

/* 1 to 31 letters, digits, '.', '_' and '-', the first a letter or digit; zeros up to 32 bytes. */
static int is_head_name(const uint8_t *name)
{
    size_t size = 0;
    while (size < 32 && is_word_character(name[size]))
        size++;
    if (size == 0 || size > 31 || name[0] == '.' || name[0] == '_' || name[0] == '-')
        return 0;
    return emj_is_zero(name + size, 32 - size);
}

/* Magic, version, lengths, CRC: what comes before any field is believed. */
static int check_frame(const uint8_t *data, size_t size)
{
    static const uint8_t zeros[4] = {0};
    if (size < HEAD_SIZE || size > MAX_HEAD || memcmp(data, "EDGEHEAD", 8) != 0)
        return EM_ERR_DAMAGED;
    if (emj_load16(data + 8) > 1)
        return EM_ERR_VERSION;
    if (emj_load16(data + 8) != 1 || emj_load16(data + 10) != HEAD_SIZE || emj_load32(data + 12) != size || size % 64)
        return EM_ERR_DAMAGED;
    uint32_t crc = em_crc32(em_crc32(0, data, 16), zeros, 4);
    return em_crc32(crc, data + 20, size - 20) == emj_load32(data + 16) ? EM_OK : EM_ERR_DAMAGED;
}

static int read_fields(const uint8_t *data, em_headbin *head)
{
    uint32_t flags = emj_load32(data + 20);
    head->embedding_id = data + 24;
    head->dim = emj_load32(data + 56);
    head->height = emj_load32(data + 64);
    head->width = emj_load32(data + 68);
    head->power = load_f64(data + 80);
    head->scale = load_f64(data + 88);
    head->lambda = load_f64(data + 96);
    head->temperature = load_f64(data + 104);
    head->l2 = (flags & FLAG_L2) != 0;
    head->balance = (flags & FLAG_BALANCE) != 0;
    head->has_lambda = (flags & FLAG_LAMBDA) != 0;
    head->head = (const char *)data + 112;
    int sides = head->height >= 1 && head->height <= MAX_SIDE && head->width >= 1 && head->width <= MAX_SIDE;
    int codes = emj_load32(data + 60) == 1 && emj_load32(data + 72) == 3 && emj_load32(data + 76) == 0x01010101u;
    int lambda = head->has_lambda ? is_above(head->lambda, LARGEST) : emj_load64(data + 96) == 0;
    int numbers = is_above(head->power, 1) && is_above(head->scale, head->l2 ? 1 : LARGEST) && lambda &&
                  is_above(head->temperature, LARGEST);
    int rest = flags < 64 && is_head_name(data + 112) && emj_is_zero(data + 148, 44);
    return head->dim >= 1 && head->dim <= EM_MAX_DIM && sides && codes && numbers && rest ? EM_OK : EM_ERR_DAMAGED;
}

/* One row of the table: the array must begin at `*end`, which moves to the next multiple of 64. */
static int read_row(const uint8_t *data, size_t size, const uint8_t *row, unsigned kind, size_t *end, array *out)
{
    uint64_t count = emj_load64(row + 16);
    if (emj_load32(row) != kind + 1 || emj_load32(row + 4) != kinds[kind].dtype || !emj_is_zero(row + 24, 8))
        return EM_ERR_DAMAGED;
    if (emj_load64(row + 8) != *end || count == 0 || count > (size - *end) / kinds[kind].bytes)
        return EM_ERR_DAMAGED;
    out->at = data + *end;
    out->count = count;
    size_t used = *end + (size_t)count * kinds[kind].bytes;
    size_t next = (used + 63) / 64 * 64; /* at most size, which is a multiple of 64 */
    *end = next;
    return emj_is_zero(data + used, next - used) ? EM_OK : EM_ERR_DAMAGED;
}

/* The whole table, and that the arrays are all there is. */
static int read_table(const uint8_t *data, size_t size, array arrays[KINDS])
{
    uint32_t flags = emj_load32(data + 20), count = 0, row = 0;
    for (unsigned kind = 0; kind < KINDS; kind++)
        count += (flags & kinds[kind].flag) != 0;
    size_t used = HEAD_SIZE + (size_t)count * ROW_SIZE, end = (used + 63) / 64 * 64;
    if (emj_load32(data + 144) != count || end > size || !emj_is_zero(data + used, end - used))
        return EM_ERR_DAMAGED;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        if (!(flags & kinds[kind].flag))
            continue;
        int status = read_row(data, size, data + HEAD_SIZE + (size_t)row * ROW_SIZE, kind, &end, &arrays[kind]);
        if (status < 0)
            return status;
        row++;
    }
    return end == size ? EM_OK : EM_ERR_DAMAGED;
}

static int check_centre(const array *centre, uint32_t dim)
{
    if (centre->count != dim)
        return EM_ERR_DAMAGED;
    for (uint32_t i = 0; i < dim; i++)
        if (!emj_finite(load_f32(centre->at + (size_t)i * 4)))
            return EM_ERR_DAMAGED;
    return EM_OK;
}

static int check_background(const array *values)
{
    if (values->count != 270u /* 5 * 6 * 9 */)
        return EM_ERR_DAMAGED;
    for (size_t i = 0; i < 270; i++) {
        double value = load_f32(values->at + i * 4);
        if (!emj_finite(value) || !(value > 0))
            return EM_ERR_DAMAGED;
        if (i % 9 != 0 && value > load_f32(values->at + (i - 1) * 4))
            return EM_ERR_DAMAGED;
    }
    return EM_OK;
}

static int check_means(const array *means, uint32_t dim)
{
    if (means->count % dim != 0 || means->count / dim > MAX_LABELS)
        return EM_ERR_DAMAGED;
    const uint8_t *at = means->at;
    for (uint64_t p = 0; p < means->count / dim; p++) {
        double squares = 0;
        for (uint32_t i = 0; i < dim; i++, at += 4)
            squares += load_f32(at) * load_f32(at);
        if (!(squares <= (1 + 1e-5) * (1 + 1e-5))) /* also where it is NaN or infinite */
            return EM_ERR_DAMAGED;
    }
    return EM_OK;
}

/* Whether text a comes before text b, by bytes, which is by code points. */
static int is_before(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order < 0 || (order == 0 && a_size < b_size);
}

static int check_labels(const array *labels, uint64_t wanted)
{
    const uint8_t *at = labels->at, *end = at + (size_t)labels->count, *last = NULL;
    size_t last_size = 0;
    uint64_t count = 0;
    for (; at < end; count++) {
        size_t room = (size_t)(end - at), size = 0;
        while (size < room && size < 256 && at[size] != 0)
            size++;
        if (size == room || !emj_is_label(at, size) || (last != NULL && !is_before(last, last_size, at, size)))
            return EM_ERR_DAMAGED;
        last = at;
        last_size = size;
        at += size + 1;
    }
    return count == wanted ? EM_OK : EM_ERR_DAMAGED;
}

static int read_prior(const array arrays[KINDS], em_headbin *head)
{
    int status = check_means(&arrays[MEANS], head->dim);
    if (status < 0)
        return status;
    uint64_t count = arrays[MEANS].count / head->dim;
    status = check_labels(&arrays[LABELS], count);
    if (status < 0)
        return status;
    if (arrays[SPREAD].count != 2)
        return EM_ERR_DAMAGED;
    double within = load_f64(arrays[SPREAD].at), between = load_f64(arrays[SPREAD].at + 8);
    if (!is_above(within, LARGEST) || !is_above(between, LARGEST))
        return EM_ERR_DAMAGED;
    double kappa = within / between;
    if (!emj_finite(kappa) || !(kappa > 0))
        return EM_ERR_DAMAGED;
    /* The arrays lie at multiples of 64 of aligned bytes, and the machine is little-endian. */
    head->prior_means = (const float *)(const void *)arrays[MEANS].at;
    head->prior_labels = (const char *)arrays[LABELS].at;
    head->prior_count = (uint32_t)count;
    head->prior_within = within;
    head->prior_between = between;
    return EM_OK;
}

static int read_arrays(const uint8_t *data, size_t size, em_headbin *head)
{
    array arrays[KINDS] = {{NULL, 0}};
    int status = read_table(data, size, arrays);
    if (status == EM_OK && arrays[CENTRE].at != NULL) {
        status = check_centre(&arrays[CENTRE], head->dim);
        head->centre = (const float *)(const void *)arrays[CENTRE].at;
    }
    if (status == EM_OK && arrays[BACKGROUND].at != NULL) {
        status = check_background(&arrays[BACKGROUND]);
        head->background = (const float *)(const void *)arrays[BACKGROUND].at;
    }
    if (status == EM_OK && arrays[MEANS].at != NULL)
        status = read_prior(arrays, head);
    return status;
}

int em_headbin_read(const void *bytes, size_t size, em_headbin *out)
{
    em_headbin head;
    memset(&head, 0, sizeof head);
    if (bytes == NULL || out == NULL)
        return EM_ERR_NULL;
    if ((uintptr_t)bytes % EM_ALIGN != 0)
        return EM_ERR_MEMORY;
    if (!is_little_endian())
        return EM_ERR_UNSUPPORTED;
    int status = check_frame(bytes, size);
    if (status == EM_OK)
        status = read_fields(bytes, &head);
    if (status == EM_OK)
        status = read_arrays(bytes, size, &head);
    if (status == EM_OK)
        *out = head;
    return status;
}

/* ---- the zip around it ------------------------------------------------------------------------------------------ */

#define LOCAL 30u
#define CENTRAL 46u
#define END 22u
#define MAX_MEMBERS 256u
#define MAX_NAME 128u
#define MAX_MANIFEST ((uint32_t)1 << 20)

typedef struct member {
    const uint8_t *name;
    uint32_t name_size, size, crc;
    size_t data;    /* where its data begins */
    size_t central; /* bytes of its record in the directory */
} member;

/* Parts of letters, digits, '.', '_' and '-' joined by '/', none empty or of dots alone. */
static int is_member_name(const uint8_t *name, size_t size)
{
    int solid = 0; /* whether the part has something else than dots */
    if (size == 0 || size > MAX_NAME)
        return 0;
    for (size_t i = 0; i < size; i++) {
        if (name[i] == '/' ? !solid : !is_word_character(name[i]))
            return 0;
        solid = name[i] == '/' ? 0 : solid || name[i] != '.';
    }
    return solid;
}

/* The record at `record` in the directory, with `room` bytes up to the directory's end, of a member whose header is at
 * `position`: every byte of it follows from name, size and CRC, and so does every byte of the header. */
static int read_member(const uint8_t *bundle, size_t start, size_t position, const uint8_t *record, size_t room,
                       member *out)
{
    /* From "version needed" to the date: 1.0, no flags, stored, 1980-01-01. */
    static const uint8_t fixed[10] = {10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0};
    if (room < CENTRAL || memcmp(record, "PK\1\2\12\0", 6) != 0 || memcmp(record + 6, fixed, sizeof fixed) != 0)
        return EM_ERR_DAMAGED;
    out->crc = emj_load32(record + 16);
    out->size = emj_load32(record + 20);
    out->name = record + CENTRAL;
    out->name_size = emj_load16(record + 28);
    uint32_t extra = emj_load16(record + 30);
    if (room - CENTRAL < (size_t)out->name_size + extra || !is_member_name(out->name, out->name_size))
        return EM_ERR_DAMAGED;
    out->data = (position + LOCAL + out->name_size + 4 + 63) / 64 * 64;
    out->central = CENTRAL + out->name_size + extra;
    if (out->data > start || out->size > start - out->data || out->data - position - LOCAL - out->name_size != extra)
        return EM_ERR_DAMAGED;
    const uint8_t *field = out->name + out->name_size, *local = bundle + position;
    if (emj_load32(record + 24) != out->size || !emj_is_zero(record + 32, 10) || emj_load32(record + 42) != position ||
        emj_load16(field) != 0x4d45 || emj_load16(field + 2) != extra - 4 || !emj_is_zero(field + 4, extra - 4))
        return EM_ERR_DAMAGED;
    if (memcmp(local, "PK\3\4", 4) != 0 || memcmp(local + 4, record + 6, 26) != 0 ||
        memcmp(local + LOCAL, out->name, (size_t)out->name_size + extra) != 0)
        return EM_ERR_DAMAGED;
    return EM_OK;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static int is_same_name(const uint8_t *a, const uint8_t *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (lower(a[i]) != lower(b[i]))
            return 0;
    return 1;
}

/* Whether one of the records before this one has its name, upper and lower case being the same. */
static int is_there_twice(const uint8_t *directory, const uint8_t *record)
{
    size_t size = emj_load16(record + 28);
    for (const uint8_t *at = directory; at < record; at += CENTRAL + emj_load16(at + 28) + emj_load16(at + 30))
        if (emj_load16(at + 28) == size && is_same_name(at + CENTRAL, record + CENTRAL, size))
            return 1;
    return 0;
}

static int is_named(const member *found, const char *name)
{
    size_t size = emj_length(name);
    return found->name_size == size && memcmp(found->name, name, size) == 0;
}

/* The members in their order: the manifest, head.bin, then the others by name. */
static int is_in_order(uint32_t number, const member *before, const member *found)
{
    if (number == 0)
        return is_named(found, "manifest.json") && found->size <= MAX_MANIFEST;
    if (number == 1)
        return is_named(found, "head.bin") && found->size <= MAX_HEAD;
    return number == 2 || is_before(before->name, before->name_size, found->name, found->name_size);
}

/* Walk the `count` records of the directory, which is the `length` bytes at `start`. */
static int walk_directory(const uint8_t *bundle, size_t start, size_t length, uint32_t count, member *head)
{
    const uint8_t *directory = bundle + start;
    member found, before;
    size_t at = 0, position = 0;
    memset(&before, 0, sizeof before);
    for (uint32_t number = 0; number < count; number++) {
        int status = read_member(bundle, start, position, directory + at, length - at, &found);
        if (status < 0)
            return status;
        if (!is_in_order(number, &before, &found) || is_there_twice(directory, directory + at))
            return EM_ERR_DAMAGED;
        if (number == 1)
            *head = found;
        at += found.central;
        position = found.data + found.size;
        before = found;
    }
    return at == length && position == start ? EM_OK : EM_ERR_DAMAGED;
}

int em_bundle_find_head(const void *bundle, size_t size, size_t *offset, size_t *length)
{
    const uint8_t *data = bundle;
    member head = {NULL, 0, 0, 0, 0, 0};
    if (bundle == NULL || offset == NULL || length == NULL)
        return EM_ERR_NULL;
    if (size < END || size > INT32_MAX)
        return EM_ERR_DAMAGED;
    const uint8_t *end = data + size - END;
    uint32_t count = emj_load16(end + 8), directory = emj_load32(end + 12), start = emj_load32(end + 16);
    if (memcmp(end, "PK\5\6\0\0\0\0", 8) != 0 || emj_load16(end + 10) != count || emj_load16(end + 20) != 0)
        return EM_ERR_DAMAGED;
    if (count < 2 || count > MAX_MEMBERS || start > size - END || directory != size - END - start)
        return EM_ERR_DAMAGED;
    int status = walk_directory(data, start, directory, count, &head);
    if (status < 0)
        return status;
    if (em_crc32(0, data + head.data, head.size) != head.crc)
        return EM_ERR_DAMAGED;
    *offset = head.data;
    *length = head.size;
    return EM_OK;
}
