/* learn_digits.c - a Cortex-M without an operating system learns digits, names others, forgets, and checks itself.
 *
 * All memory is static. Class means, and ridge from at most EXAMPLES examples. What it says is compared with what
 * NumPy's heads say of the same digits (digits.h), and what it forgets must leave no trace. */
#include "board.h"
#include "digits.h"
#include "edgemeta.h"

#define EXAMPLES (CLASSES * SHOTS + 1)
#define LAST (CLASSES - 1)
/* A little more than em_state_size() says of the options below; em_state_init() checks it. */
#define MEANS_BYTES 6144
#define DUAL_BYTES 22528

typedef struct snapshot {
    double sums[CLASSES][DIM], weights[CLASSES][DIM], bias[CLASSES];
} snapshot;

static uint8_t means_memory[MEANS_BYTES] __attribute__((aligned(EM_ALIGN)));
static uint8_t dual_memory[DUAL_BYTES] __attribute__((aligned(EM_ALIGN)));
static int32_t q20[DIM];
static snapshot before, after;
static int wrong;

static void check(int holds, const char *what)
{
    say(holds ? "  ok      " : "  WRONG   ");
    say(what);
    say("\n");
    wrong += !holds;
}

/* Stops at what cannot be: nothing below would mean anything. */
static void must(int status)
{
    if (status >= 0)
        return;
    say("  stopped ");
    say(em_status_name(status));
    say("\n");
    finish(1);
}

static const int32_t *stored(const float *raw)
{
    must(em_normalise(raw, DIM, NULL, 1.0, 1, 1.0, q20));
    return q20;
}

static void teach(em_state *state, uint32_t of_class)
{
    for (uint32_t i = 0; i < SHOTS; i++)
        must(em_state_add(state, of_class, stored(taught[of_class * SHOTS + i])));
}

/* How many of the digits that were asked are named as NumPy names them. */
static uint32_t agreeing(const em_state *state, const unsigned char *expected)
{
    uint32_t same = 0;
    for (uint32_t i = 0; i < CLASSES * ASKED; i++)
        same += em_state_predict_q20(state, stored(asked[i]), NULL) == expected[i];
    return same;
}

static void look(const em_state *state, snapshot *out)
{
    for (uint32_t c = 0; c < CLASSES; c++)
        for (uint32_t i = 0; i < DIM; i++)
            out->sums[c][i] = em_state_sum(state, c)[i];
    must(em_state_weights(state, &out->weights[0][0], out->bias));
}

static int same_sums(void)
{
    int same = 1;
    for (uint32_t c = 0; c < CLASSES; c++)
        for (uint32_t i = 0; i < DIM; i++)
            same &= before.sums[c][i] == after.sums[c][i];
    return same;
}

/* Within that part of their norm; 0.0: to the bit. */
static int same_weights(double part)
{
    double norm = 0.0, apart = 0.0;
    for (uint32_t c = 0; c < CLASSES; c++)
        for (uint32_t i = 0; i < DIM; i++) {
            double difference = after.weights[c][i] - before.weights[c][i];
            norm += before.weights[c][i] * before.weights[c][i];
            apart += difference * difference;
        }
    return apart <= part * part * norm;
}

/* Teach all, forget the last class, undo a mistake. part: how exactly the weights come back. */
static void exercise(em_state *state, const unsigned char *expected, double part)
{
    const float *mistake = taught[0];
    for (uint32_t c = 0; c < LAST; c++)
        teach(state, c);
    look(state, &before);
    check(em_state_count(state, LAST) == 0 && em_state_total(state) == LAST * SHOTS, "learned four classes of five");

    teach(state, LAST);
    check(agreeing(state, expected) == CLASSES * ASKED, "learned the fifth; 30 others are named as NumPy names them");

    for (uint32_t i = 0; i < SHOTS; i++)
        must(em_state_remove(state, LAST, stored(taught[LAST * SHOTS + i])));
    look(state, &after);
    check(same_sums(), "forgot it: the sums are, bit for bit, those of who never saw it");
    check(same_weights(part), part > 0.0 ? "and the weights, to 1e-9" : "and the weights, bit for bit");
    check(em_state_predict_q20(state, stored(asked[LAST * ASKED]), NULL) != LAST, "and it is named no more");

    must(em_state_add(state, 1, stored(mistake)));
    look(state, &after);
    check(!same_sums(), "learned a digit under a wrong name");
    must(em_state_remove(state, 1, stored(mistake)));
    look(state, &after);
    check(same_sums() && same_weights(part), "took it back: as before");
    check(em_state_remove(state, LAST, q20) == EM_ERR_NOT_FOUND, "what was not learned cannot be forgotten");
}

static em_state *make(const em_state_options *options, void *memory, size_t size)
{
    em_state *state = NULL;
    say_number((uint32_t)em_state_size(options));
    say(" bytes\n");
    must(em_state_init(memory, size, em_kernels_find(NULL), options, &state));
    return state;
}

/* What a state of some sizes needs, for who chooses one. */
static void say_sizes(void)
{
    static const uint32_t dims[] = {64, 128, 256, 640};
    say("bytes of a state of 5 classes:   means   ridge, 25 examples\n");
    for (uint32_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        em_state_options options = {.kind = EM_STATE_MEANS, .dim = dims[i], .classes = 5, .means = EM_EUCLIDEAN};
        say("  ");
        say_number(dims[i]);
        say(" dimensions: ");
        say_number((uint32_t)em_state_size(&options));
        options.kind = EM_STATE_DUAL;
        options.examples = 25;
        options.lambda = LAMBDA;
        say(", ");
        say_number((uint32_t)em_state_size(&options));
        say("\n");
    }
}

int main(void)
{
    em_state_options options = {.kind = EM_STATE_MEANS, .dim = DIM, .classes = CLASSES, .means = EM_EUCLIDEAN};
    say("class means: ");
    exercise(make(&options, means_memory, sizeof means_memory), by_means, 0.0);

    options.kind = EM_STATE_DUAL;
    options.examples = EXAMPLES;
    options.lambda = LAMBDA;
    say("ridge: ");
    exercise(make(&options, dual_memory, sizeof dual_memory), by_ridge, 1e-9);

    say_sizes();
    say("stack: ");
    say_number((uint32_t)stack_used());
    say(" bytes\n");
    say(wrong == 0 ? "all is well\n" : "something is WRONG\n");
    return wrong != 0;
}
