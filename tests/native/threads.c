/* threads.c - for ThreadSanitizer (`make sanitize`): two threads learn on objects of their own at once, others score
 * against weights that all of them share. Nothing may race, and equal work has equal results. */
#include "fuzz/fuzz.h"

#include <pthread.h>

#define LEARNERS 2
#define SCORERS 4
#define DIM 48u
#define CLASSES 3u
#define EXAMPLES 30u
#define ROUNDS 200

typedef struct shared {
    int32_t q20[EXAMPLES * DIM];
    float z[EXAMPLES * DIM], weights[CLASSES * DIM], bias[CLASSES];
    int best[EXAMPLES];
} shared;

typedef struct learner {
    const shared *given;
    double weights[CLASSES * DIM], bias[CLASSES], state_weights[CLASSES * DIM], state_bias[CLASSES];
    uint64_t bytes;
} learner;

static void *memory_of(size_t size)
{
    REQUIRE(size > 0);
    return memset(fuzz_memory(size), 0xA5, size); /* whatever was there before */
}

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void make(shared *given)
{
    uint32_t random = 1;
    for (uint32_t i = 0; i < EXAMPLES * DIM; i++) {
        given->q20[i] = (int32_t)(next(&random) % 200000u) - 100000 + (i / DIM % CLASSES == i % CLASSES ? 40000 : 0);
        given->z[i] = (float)given->q20[i] / (float)EM_Q20;
    }
    for (uint32_t i = 0; i < CLASSES * DIM; i++)
        given->weights[i] = given->z[i];
    for (uint32_t c = 0; c < CLASSES; c++)
        given->bias[c] = 0.01f * (float)c;
    for (uint32_t n = 0; n < EXAMPLES; n++)
        given->best[n] = em_best(em_kernels_find(NULL), given->weights, given->bias, CLASSES, DIM, given->z + n * DIM, NULL);
}

static void fit(learner *self)
{
    const em_kernels *kernels = em_kernels_find(NULL);
    size_t size = em_statistics_size(DIM, CLASSES, 1), room = em_ridge_size(CLASSES, DIM, EXAMPLES, 0);
    void *memory = memory_of(size), *work = memory_of(room);
    double *moment = memory_of(sizeof(double) * DIM * DIM), counts[CLASSES], sums[CLASSES * DIM];
    em_statistics *statistics;
    em_facts facts;
    REQUIRE(em_statistics_init(memory, size, kernels, DIM, CLASSES, 1, &statistics) == EM_OK);
    for (uint32_t n = 0; n < EXAMPLES; n++)
        REQUIRE(em_statistics_add(statistics, n % CLASSES, self->given->q20 + (size_t)n * DIM, 1) == EM_OK);
    REQUIRE(em_statistics_moment(statistics, moment) == EM_OK);
    memset(&facts, 0, sizeof facts);
    for (uint32_t c = 0; c < CLASSES; c++) {
        counts[c] = em_statistics_count(statistics, c);
        memcpy(sums + (size_t)c * DIM, em_statistics_sum(statistics, c), DIM * sizeof(double));
    }
    facts.classes = CLASSES;
    facts.dim = DIM;
    facts.total = EXAMPLES;
    facts.counts = counts;
    facts.sums = sums;
    facts.squares = em_statistics_squares(statistics);
    facts.moment = moment;
    REQUIRE(em_ridge(kernels, &facts, 0.1, 0, work, room, self->weights, self->bias) == EM_OK);
    free(memory);
    free(work);
    free(moment);
}

static void follow(learner *self)
{
    em_state_options options;
    em_state *state;
    memset(&options, 0, sizeof options);
    options.kind = EM_STATE_MEANS;
    options.dim = DIM;
    options.classes = CLASSES;
    options.means = EM_CENTRED;
    size_t size = em_state_size(&options);
    void *memory = memory_of(size);
    REQUIRE(em_state_init(memory, size, em_kernels_find(NULL), &options, &state) == EM_OK);
    for (uint32_t n = 0; n < EXAMPLES; n++)
        REQUIRE(em_state_add(state, n % CLASSES, self->given->q20 + (size_t)n * DIM) == EM_OK);
    REQUIRE(em_state_remove(state, 0, self->given->q20) == EM_OK);
    REQUIRE(em_state_weights(state, self->state_weights, self->state_bias) == EM_OK);
    free(memory);
}

static void note(learner *self)
{
    fuzz_disk disk;
    em_journal_limits limits;
    uint8_t id[32] = {1};
    em_journal_options options;
    em_journal *journal;
    em_example example;
    em_live live;
    memset(&limits, 0, sizeof limits);
    memset(&options, 0, sizeof options);
    memset(&example, 0, sizeof example);
    limits.examples = EXAMPLES;
    limits.classes = limits.uuids = limits.ranges = limits.undo = 4;
    options.embedding_id = id;
    options.dim = DIM;
    options.mode = EM_JOURNAL_WRITE;
    example.label = "label";
    size_t size = em_journal_size(&limits);
    void *memory = memory_of(size);
    fuzz_disk_begin(&disk, NULL, 0);
    em_store store = fuzz_disk_store(&disk);
    disk.missing = 1;
    REQUIRE(em_journal_open(memory, size, &limits, &store, &options, &journal) == EM_OK);
    for (uint32_t n = 0; n < 8; n++) {
        example.q20 = self->given->q20 + (size_t)n * DIM;
        REQUIRE(em_journal_append(journal, &example, 1, NULL) == EM_OK);
    }
    REQUIRE(em_journal_get(journal, 3, &live) == EM_OK && em_journal_forget(journal, &live.id, 1) == EM_OK);
    REQUIRE(em_journal_undo(journal) == 1);
    self->bytes = em_journal_bytes(journal);
    fuzz_disk_end(&disk);
    free(memory);
}

static void *learn(void *data)
{
    for (int round = 0; round < ROUNDS / 20; round++) {
        fit(data);
        follow(data);
        note(data);
    }
    return NULL;
}

static void *score(void *data)
{
    const shared *given = data;
    float scores[CLASSES];
    for (int round = 0; round < ROUNDS; round++)
        for (uint32_t n = 0; n < EXAMPLES; n++) {
            const em_kernels *kernels = em_kernels_find(NULL);
            const float *z = given->z + (size_t)n * DIM;
            int best = em_best(kernels, given->weights, given->bias, CLASSES, DIM, z, NULL);
            REQUIRE(best == given->best[n]);
            REQUIRE(em_score(kernels, given->weights, given->bias, CLASSES, DIM, z, 1, scores) == EM_OK);
        }
    return NULL;
}

int main(void)
{
    static shared given;
    static learner learners[LEARNERS];
    pthread_t threads[LEARNERS + SCORERS];
    make(&given);
    for (int i = 0; i < LEARNERS + SCORERS; i++) {
        if (i < LEARNERS)
            learners[i].given = &given;
        REQUIRE(pthread_create(&threads[i], NULL, i < LEARNERS ? learn : score,
                               i < LEARNERS ? (void *)&learners[i] : (void *)&given) == 0);
    }
    for (int i = 0; i < LEARNERS + SCORERS; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    REQUIRE(memcmp(&learners[0], &learners[1], sizeof learners[0]) == 0);
    (void)printf("%d threads, equal results\n", LEARNERS + SCORERS);
    return 0;
}
