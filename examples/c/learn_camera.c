/* learn_camera.c - show a camera things, press a key for each, and it knows them.
 *
 *     learn_camera glyphs.edgemeta signs.learned --labels stop,go
 *
 * Each frame is fitted to the graph's input, runs through it, is normalised, and is learned (keys 1 to 9) or named.
 * What was learned is in the journal, on the disk, when the line about it is printed. See --help. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "graph.h"
#include "keys.h"
#include "learner.h"
#include "say.h"
#include "source.h"

#define KEYS 9

volatile sig_atomic_t stop;

static const char help[] =
    "learn_camera BUNDLE JOURNAL [options]: learn what a camera sees on a key press, name what it sees.\n"
    "\n"
    "  --camera DEVICE    frames of a V4L2 camera (without any of these four: /dev/video0)\n"
    "  --ppm FILE         binary PPM or PGM images, one after another; - is standard input\n"
    "  --text FILE        embeddings instead of images, a line each, as the graph gives them; - likewise\n"
    "  --floats FILE      the same as float32, one after another\n"
    "  --size WxH         of camera frames (640x480)\n"
    "  --labels A,B,C     what the keys 1, 2, 3 teach (else: what the journal knows, then \"1\" to \"9\")\n"
    "  --keys KEYS        instead of a keyboard, one after another: 1 to 9 and . (name it) take a frame each\n"
    "  --head HEAD        euclidean, cosine, centred or ridge (else: what the bundle says); --lambda X for ridge\n"
    "  --classes N --examples N    room in memory (32, 2000)\n"
    "\n"
    "Keys: 1 to 9 learn this frame, u undo, f forget the class learned last, c compact (forgotten bytes go),\n"
    "s save (everything already is, when its line is printed), q quit.\n";

typedef struct program {
    learner_options options;
    int kind;           /* source_kind */
    const char *source; /* its name */
    uint32_t width, height;
    const char *names; /* --labels */
    const char *script;
    char labels[KEYS][LEARNER_LABEL];
    int last;       /* key of the class learned last, -1 for none */
    int on_terminal; /* predictions replace each other on one line */
    unsigned long frame;
    learner learner;
    source input;
    graph *graph; /* NULL where embeddings come in */
    keys keys;
    void *scratch; /* of em_fit() */
    size_t scratch_size;
    float *raw;
} program;

/* ---- options ---------------------------------------------------------------------------------------------------- */

static int usage(const char *what, const char *about)
{
    complain("%s%s (--help says more)", what, about);
    return -1;
}

/* A whole number from 1 to 10 million; 0 where it is none. */
static uint32_t number(const char *text, char end)
{
    char *rest;
    unsigned long value = strtoul(text, &rest, 10);
    return *text >= '0' && *text <= '9' && *rest == end && value <= 10000000 ? (uint32_t)value : 0;
}

/* A number above 0; NaN where it is none. */
static double positive(const char *text)
{
    char *rest;
    double value = strtod(text, &rest);
    return rest != text && *rest == '\0' && value > 0.0 && !isinf(value) ? value : NAN;
}

static int read_option(program *self, const char *name, const char *value)
{
    static const char *const sources[] = {"--camera", "--ppm", "--text", "--floats"};
    for (int kind = 0; kind < 4; kind++)
        if (strcmp(name, sources[kind]) == 0) {
            if (self->source != NULL)
                return usage("one of --camera, --ppm, --text, --floats is enough; one too many: ", name);
            self->kind = kind;
            self->source = value;
            return 0;
        }
    if (strcmp(name, "--labels") == 0)
        self->names = value;
    else if (strcmp(name, "--keys") == 0)
        self->script = value;
    else if (strcmp(name, "--head") == 0)
        self->options.head = value;
    else if (strcmp(name, "--lambda") == 0)
        self->options.lambda = positive(value);
    else if (strcmp(name, "--classes") == 0)
        self->options.classes = number(value, '\0');
    else if (strcmp(name, "--examples") == 0)
        self->options.examples = number(value, '\0');
    else if (strcmp(name, "--size") == 0) {
        self->width = number(value, 'x');
        self->height = strchr(value, 'x') == NULL ? 0 : number(strchr(value, 'x') + 1, '\0');
    } else {
        return usage("there is no option ", name);
    }
    return 0;
}

static int read_options(program *self, int count, char **words)
{
    for (int i = 1; i < count; i++) {
        if (words[i][0] == '-' && words[i][1] == '-') {
            if (i + 1 == count)
                return usage("nothing follows ", words[i]);
            if (read_option(self, words[i], words[i + 1]) < 0)
                return -1;
            i++;
        } else if (self->options.bundle == NULL)
            self->options.bundle = words[i];
        else if (self->options.journal == NULL)
            self->options.journal = words[i];
        else
            return usage("one word too many: ", words[i]);
    }
    if (self->options.journal == NULL)
        return usage("name a bundle and a journal", "");
    if (self->options.classes == 0 || self->options.examples == 0 || self->width == 0 || self->height == 0)
        return usage("--classes, --examples and --size are numbers above 0", "");
    if (isnan(self->options.lambda))
        return usage("--lambda is a number above 0", "");
    if (self->source == NULL)
        self->source = "/dev/video0";
    if (self->script == NULL)
        return 0;
    const char *rest = self->script + strspn(self->script, "123456789.ufcsq \t\r\n");
    return *rest == '\0' ? 0 : usage("--keys has one that does nothing: ", rest);
}

/* ---- keys and labels -------------------------------------------------------------------------------------------- */

/* --labels, one after another. */
static int take_names(program *self)
{
    const char *at = self->names;
    for (int key = 0; *at != '\0' || at == self->names; key++) {
        size_t size = strcspn(at, ",");
        if (key == KEYS || size == 0 || size >= LEARNER_LABEL)
            return usage("--labels are 1 to 9 names, with commas between: ", self->names);
        memcpy(self->labels[key], at, size);
        self->labels[key][size] = '\0';
        at += size + (at[size] == ',');
    }
    return 0;
}

static int is_digit(const char *label)
{
    return label[0] >= '1' && label[0] <= '9' && label[1] == '\0';
}

/* What the journal knows, on keys: "1" to "9" on their own, others on those that are free, in order; then the digits
 * that are left name themselves. */
static void take_known(program *self)
{
    const em_journal *journal = self->learner.journal;
    uint32_t classes = em_journal_classes(journal);
    for (uint32_t c = 0; c < classes; c++) {
        const char *label = em_journal_label(journal, c, NULL);
        if (label != NULL && is_digit(label))
            strcpy(self->labels[label[0] - '1'], label);
    }
    for (uint32_t c = 0; c < classes; c++) {
        const char *label = em_journal_label(journal, c, NULL);
        int key = 0;
        while (key < KEYS && self->labels[key][0] != '\0')
            key++;
        if (label != NULL && !is_digit(label) && key < KEYS)
            strcpy(self->labels[key], label);
    }
    for (int key = 0; key < KEYS; key++)
        if (self->labels[key][0] == '\0') {
            self->labels[key][0] = (char)('1' + key);
            self->labels[key][1] = '\0';
        }
}

static uint32_t count_of(const program *self, const char *label)
{
    int of_class = em_journal_class(self->learner.journal, label);
    return of_class < 0 ? 0 : em_state_count(self->learner.state, (uint32_t)of_class);
}

static void greet(const program *self)
{
    const learner *from = &self->learner;
    printf("%u examples of embeddings of %u numbers; kernels %s\n", (unsigned)em_state_total(from->state),
           (unsigned)from->head.dim, em_kernels_name(from->kernels));
    for (int key = 0; key < KEYS && self->labels[key][0] != '\0'; key++)
        printf("%s%d=%s (%u)", key > 0 ? ", " : "keys: ", key + 1, self->labels[key],
               (unsigned)count_of(self, self->labels[key]));
    printf(", u undo, f forget, c compact, s save, q quit\n");
}

/* ---- one key ---------------------------------------------------------------------------------------------------- */

/* A line that stays; on a terminal it takes the place of the prediction. */
static void begin_line(const program *self)
{
    if (self->on_terminal)
        fputs("\r\033[K", stdout);
}

static int do_undo(program *self)
{
    int status = learner_undo(&self->learner);
    begin_line(self);
    if (status == EM_ERR_NOT_FOUND)
        puts("nothing to undo");
    else if (status >= 0)
        printf("undone; %u examples\n", (unsigned)em_state_total(self->learner.state));
    return status == EM_ERR_NOT_FOUND ? 0 : status;
}

static int do_forget(program *self)
{
    const char *label = self->last < 0 ? NULL : self->labels[self->last];
    int status = label == NULL ? EM_ERR_NOT_FOUND : learner_forget(&self->learner, label);
    begin_line(self);
    if (status == EM_ERR_NOT_FOUND)
        puts("nothing learned here to forget");
    else if (status >= 0)
        printf("forgot %s, %d examples\n", label, status);
    return status == EM_ERR_NOT_FOUND ? 0 : status;
}

static int do_save(program *self, int compact)
{
    int status = compact ? learner_compact(&self->learner) : learner_save(&self->learner);
    if (status < 0)
        return status;
    begin_line(self);
    printf("%s: %u examples, %llu bytes\n", compact ? "compacted" : "saved",
           (unsigned)em_state_total(self->learner.state), (unsigned long long)em_journal_bytes(self->learner.journal));
    return 0;
}

/* Keys that need no frame, up to the next that does: that one, or 0. */
static int next_key(program *self)
{
    int key = 0, status = 0;
    while (status >= 0 && !stop && (key = keys_next(&self->keys)) != 0 && !(key >= '1' && key <= '9') && key != '.') {
        if (key == 'u')
            status = do_undo(self);
        else if (key == 'f')
            status = do_forget(self);
        else if (key == 's' || key == 'c')
            status = do_save(self, key == 'c');
        else if (key == 'q')
            stop = 1;
    }
    return status < 0 ? -1 : stop ? 0 : key;
}

/* ---- one frame -------------------------------------------------------------------------------------------------- */

/* The image to the graph's pixels; scratch memory grows with the images. */
static int fit(program *self, const em_image *image)
{
    const em_headbin *head = &self->learner.head;
    size_t needed = em_fit_size(image->width, image->height, image->format, head->width, head->height);
    if (needed > self->scratch_size) {
        free(self->scratch);
        self->scratch = NULL;
        self->scratch_size = posix_memalign(&self->scratch, EM_ALIGN, needed) == 0 ? needed : 0;
    }
    int status = em_fit(self->learner.kernels, image, head->width, head->height, self->scratch, self->scratch_size,
                        graph_pixels(self->graph));
    if (status < 0)
        complain("%s: an image of %u x %u cannot be fitted: %s", self->source, (unsigned)image->width,
                 (unsigned)image->height, em_status_name(status));
    return status;
}

/* The next embedding, as the graph gives it: 1, 0 at the end, negative. */
static int next_raw(program *self, const float **raw)
{
    em_image image;
    int status;
    *raw = self->raw;
    if (self->graph == NULL)
        return source_embedding(&self->input, self->raw);
    status = source_image(&self->input, &image);
    if (status <= 0)
        return status;
    if (fit(self, &image) < 0)
        return -1;
    *raw = graph_run(self->graph);
    return *raw == NULL ? -1 : 1;
}

static int learn(program *self, int key)
{
    const char *label = self->labels[key];
    int count;
    begin_line(self);
    if (label[0] == '\0') {
        printf("frame %lu: key %d has no label\n", self->frame, key + 1);
        return 0;
    }
    count = learner_learn(&self->learner, label, self->graph == NULL ? NULL : graph_variant(self->graph));
    if (count < 0)
        return -1;
    self->last = key;
    printf("frame %lu: learned %s, example %d\n", self->frame, label, count);
    return 0;
}

static int predict(program *self)
{
    learner_answer answer;
    int status = learner_predict(&self->learner, &answer);
    begin_line(self);
    if (status == EM_ERR_STATE)
        printf("frame %lu: nothing learned yet", self->frame);
    else if (status < 0)
        complain("frame %lu: %s", self->frame, em_status_name(status));
    else if (answer.confidence < 0.0)
        printf("frame %lu: %s, the only class", self->frame, answer.label);
    else
        printf("frame %lu: %s %.2f", self->frame, answer.label, answer.confidence);
    if (!self->on_terminal)
        putchar('\n');
    return status == EM_ERR_STATE ? 0 : status;
}

static int run(program *self)
{
    const float *raw;
    int key, status;
    while (!stop) {
        key = next_key(self);
        if (key < 0 || stop)
            return key < 0 ? -1 : 0;
        status = next_raw(self, &raw);
        if (status <= 0)
            return status;
        self->frame++;
        status = learner_take(&self->learner, raw);
        if (status < 0)
            complain("frame %lu is passed over: an embedding of zeros, NaN, or too large a norm (%s)", self->frame,
                     em_status_name(status));
        else if ((key >= '1' && key <= '9' ? learn(self, key - '1') : predict(self)) < 0)
            return -1;
        if (fflush(stdout) != 0)
            return 0; /* nobody reads on */
    }
    return 0;
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

/* Without SA_RESTART, so that waiting for a frame ends too. */
static void catch_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

static int open_all(program *self)
{
    if (learner_open(&self->learner, &self->options) < 0)
        return -1;
    if (self->names == NULL)
        take_known(self);
    else if (take_names(self) < 0)
        return -1;
    self->raw = malloc(self->learner.head.dim * sizeof *self->raw);
    if (self->raw == NULL)
        return -1;
    if (self->kind == SOURCE_CAMERA || self->kind == SOURCE_PPM) {
        self->graph = graph_open(&self->learner);
        if (self->graph == NULL)
            return -1;
    }
    if (source_open(&self->input, self->kind, self->source, self->learner.head.dim, self->width, self->height) < 0)
        return -1;
    keys_open(&self->keys, self->script);
    self->on_terminal = self->keys.fd >= 0 && isatty(STDOUT_FILENO);
    greet(self);
    return 0;
}

static void close_all(program *self)
{
    if (self->on_terminal)
        putchar('\n');
    keys_close(&self->keys);
    source_close(&self->input);
    if (self->graph != NULL)
        graph_close(self->graph);
    learner_close(&self->learner);
    free(self->scratch);
    free(self->raw);
}

int main(int count, char **words)
{
    program self;
    int status;
    if (count == 2 && strcmp(words[1], "--help") == 0)
        return fputs(help, stdout) < 0 ? 2 : 0;
    memset(&self, 0, sizeof self);
    self.options.classes = 32;
    self.options.examples = 2000;
    self.width = 640;
    self.height = 480;
    self.last = -1;
    self.keys.fd = -1;
    if (read_options(&self, count, words) < 0)
        return 2;
    catch_signals();
    status = open_all(&self);
    if (status == 0)
        status = run(&self);
    close_all(&self);
    return status < 0 ? 2 : 0;
}
