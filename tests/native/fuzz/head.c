/* head.c - em_headbin_read(). Byte 0: RESEAL. The rest is a head.bin. */
#include "fuzz.h"

/* Read all that the fields lead to; the sum keeps a compiler from leaving it out. */
static double read_all(const em_headbin *head)
{
    double sum = head->embedding_id[0] + head->embedding_id[31] + (double)strlen(head->head);
    for (uint32_t i = 0; head->centre != NULL && i < head->dim; i++)
        sum += (double)head->centre[i];
    for (uint32_t i = 0; head->background != NULL && i < 270; i++)
        sum += (double)head->background[i];
    for (size_t i = 0; i < (size_t)head->prior_count * head->dim; i++)
        sum += (double)head->prior_means[i];
    const char *label = head->prior_labels;
    for (uint32_t i = 0; i < head->prior_count; i++, label += strlen(label) + 1)
        REQUIRE(emj_is_label((const uint8_t *)label, strlen(label)));
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    em_headbin head;
    static const uint8_t zeros[4] = {0};
    if (size < 1)
        return 0;
    int flags = data[0];
    uint8_t *bytes = fuzz_copy(data + 1, --size);
    if (flags & RESEAL && size >= 20) {
        emj_store32(bytes + 12, (uint32_t)size);
        emj_store32(bytes + 16, em_crc32(em_crc32(em_crc32(0, bytes, 16), zeros, 4), bytes + 20, size - 20));
    }
    memset(&head, 0xA5, sizeof head);
    em_headbin before = head;
    int status = em_headbin_read(bytes, size, &head);
    REQUIRE(status <= 0);
    if (status == EM_OK)
        REQUIRE(read_all(&head) * 0.0 == 0.0);
    else
        REQUIRE(memcmp(&before, &head, sizeof head) == 0);
    free(bytes);
    return 0;
}
