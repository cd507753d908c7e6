/* keep_digits.c - what a Cortex-M was taught outlives the power: the journal that Python and C share, without a file system.
 *
 * Each run is a life of the board. It reads what it was taught, learns one more digit, and names others. All digits
 * known, it forgets the last one, and takes that back. digits.learned, on the host, is what outlives; Python opens it
 * with Learner(dim=64, journal="digits.learned"). */
#include "board.h"
#include "digits.h"
#include "edgemeta.h"
#include "storage.h"

#define FILE_NAME "digits.learned"
#define ROOM 8 /* classes */
#define STATE_BYTES 9216
#define JOURNAL_BYTES 12288

static const char *const names[CLASSES] = NAMES;
static const uint8_t own_embeddings[32] = OWN_EMBEDDINGS;
static const em_journal_limits limits = {
    .examples = 40, .classes = ROOM, .label_bytes = 15, .uuids = 8, .ranges = 16, .undo = 8};
static const em_state_options options = {
    .kind = EM_STATE_MEANS, .dim = DIM, .classes = ROOM, .means = EM_EUCLIDEAN};

static uint8_t state_memory[STATE_BYTES] __attribute__((aligned(EM_ALIGN)));
static uint8_t journal_memory[JOURNAL_BYTES] __attribute__((aligned(EM_ALIGN)));
static int32_t q20[SHOTS][DIM];
static double before[ROOM][DIM];
static em_store store;
static em_journal *journal;
static em_state *state;

static void must(int status)
{
    if (status >= 0)
        return;
    say("stopped: ");
    say(em_status_name(status));
    say("\n");
    finish(1);
}

static void must_be(int holds, const char *what)
{
    if (holds)
        return;
    say("WRONG: ");
    say(what);
    say("\n");
    finish(1);
}

/* Everything in the journal into the state. */
static void load(void)
{
    must(em_state_init(state_memory, sizeof state_memory, em_kernels_find(NULL), &options, &state));
    must(em_state_load(state, journal, q20[0]));
}

static void wake_up(void)
{
    em_journal_options how = {.embedding_id = own_embeddings, .dim = DIM, .mode = EM_JOURNAL_WRITE};
    storage_from(FILE_NAME);
    store = storage_open();
    must(em_journal_open(journal_memory, sizeof journal_memory, &limits, &store, &how, &journal));
    load();
    if (em_journal_torn(journal) > 0)
        say("the power went during a call that had not returned; what it left is gone\n");
    say("known: ");
    say_number(em_state_total(state));
    say(" examples of");
    for (uint32_t c = 0; c < em_journal_classes(journal); c++)
        if (em_journal_label(journal, c, NULL) != NULL) {
            say(" ");
            say(em_journal_label(journal, c, NULL));
        }
    say("\n");
}

static void keep_sums(void)
{
    for (uint32_t c = 0; c < ROOM; c++)
        for (uint32_t i = 0; i < DIM; i++)
            before[c][i] = em_state_sum(state, c)[i];
}

static int same_sums(void)
{
    int same = 1;
    for (uint32_t c = 0; c < ROOM; c++)
        for (uint32_t i = 0; i < DIM; i++)
            same &= before[c][i] == em_state_sum(state, c)[i];
    return same;
}

/* One transaction: all of its examples, or none. */
static void learn(uint32_t digit)
{
    em_example examples[SHOTS];
    for (uint32_t i = 0; i < SHOTS; i++) {
        em_example example = {.label = names[digit], .q20 = q20[i]};
        must(em_normalise(taught[digit * SHOTS + i], DIM, NULL, 1.0, 1, 1.0, q20[i]));
        examples[i] = example;
    }
    must(em_journal_append(journal, examples, SHOTS, NULL));
    for (uint32_t i = 0; i < SHOTS; i++)
        must(em_state_add(state, (uint32_t)em_journal_class(journal, names[digit]), q20[i]));
    say("learned ");
    say(names[digit]);
    say("\n");
    keep_sums();
    load();
    must_be(same_sums(), "the journal says something else than the state");
}

/* Forget the last digit, and take that back. */
static void forget(void)
{
    const char *name = names[CLASSES - 1];
    keep_sums();
    must(em_journal_forget_label(journal, name));
    load();
    must_be(!same_sums() && em_journal_class(journal, name) == EM_ERR_NOT_FOUND, "it is not forgotten");
    must(em_journal_undo(journal));
    load();
    must_be(same_sums(), "it is not as before");
    say("forgot ");
    say(name);
    say(" and took it back\n");
}

/* What was forgotten takes room until the journal is written anew. */
static void tidy_up(void)
{
    if (em_journal_bytes(journal) < STORAGE_BYTES * 3 / 4)
        return;
    must(em_journal_compact(journal));
    load();
    must_be(same_sums(), "compacting changed what is known");
    say("compacted\n");
}

/* Names of the digits that are asked, a line for each digit. */
static void name_others(void)
{
    for (uint32_t i = 0; i < CLASSES * ASKED; i++) {
        must(em_normalise(asked[i], DIM, NULL, 1.0, 1, 1.0, q20[0]));
        int found = em_state_predict_q20(state, q20[0], NULL);
        must(found);
        if (i % ASKED == 0) {
            say("asked ");
            say(names[i / ASKED]);
            say(":");
        }
        say(" ");
        say(em_journal_label(journal, (uint32_t)found, NULL));
        if (i % ASKED == ASKED - 1)
            say("\n");
    }
}

int main(void)
{
    uint32_t digit = 0;
    wake_up();
    while (digit < CLASSES && em_journal_class(journal, names[digit]) >= 0)
        digit++;
    if (digit < CLASSES)
        learn(digit);
    else
        forget();
    tidy_up();
    name_others();
    must_be(storage_to(FILE_NAME) == 0, "the host did not take the file");
    say("journal: ");
    say_number((uint32_t)em_journal_bytes(journal));
    say(" bytes; RAM for it: ");
    say_number((uint32_t)em_journal_size(&limits));
    say("; stack: ");
    say_number((uint32_t)stack_used());
    say("\n");
    return 0;
}
