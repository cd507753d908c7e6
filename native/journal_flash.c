/* journal_flash.c - raw flash: what is torn stays where it is, and the next transaction says so. SPEC.md, "Raw flash",
 * is the text of it. */
#include "journal.h"

static uint64_t round_up(uint64_t offset, uint32_t block)
{
    return (offset + block - 1) / block * block;
}

uint64_t emj_filler(uint32_t block, uint64_t end)
{
    uint64_t behind = end + emj_record_size(EMJ_COMMIT), size = round_up(behind, block) - behind;
    return size == 0 || size >= EMJ_FRAME + 8 ? size : size + block; /* of a block of 16 it is 0 or 8 */
}

int emj_flash_room(const em_journal *journal, uint64_t start, uint64_t size)
{
    uint64_t region;
    if (journal->mode != EM_JOURNAL_FLASH)
        return EM_OK;
    if (journal->store.size(journal->store.user, &region) != 0)
        return EM_ERR_IO;
    return start > region || size > region - start ? EM_ERR_FULL : EM_OK;
}

/* One more than the last byte of the region that is not erased; at least the end of the last transaction. */
static int find_written(em_journal *journal, uint64_t *written)
{
    emj_source *source = &journal->source;
    *written = journal->end;
    for (uint64_t at = journal->end; at < source->limit;) {
        const uint8_t *data;
        size_t size = source->limit - at < EMJ_BUFFER ? (size_t)(source->limit - at) : EMJ_BUFFER;
        int status = emj_bytes(source, at, size, &data);
        if (status < 0)
            return status;
        for (size_t i = size; i > 0; i--) {
            if (data[i - 1] != 0xff) {
                *written = at + i;
                break;
            }
        }
        at += size;
    }
    return EM_OK;
}

int emj_flash_begin(em_journal *journal, int made)
{
    uint8_t place[16];
    uint64_t written;
    const em_store *store = &journal->store;
    int status = find_written(journal, &written);
    if (status < 0)
        return status;
    journal->torn = written - journal->end;
    /* What goes on behind torn bytes says that everything before them is durable. */
    if ((journal->torn || journal->end > journal->synced) && store->sync(store->user) != 0)
        return EM_ERR_IO;
    journal->synced = journal->source.limit = journal->end;
    journal->source.size = 0;
    status = emj_place(store, place);
    if (status < 0)
        return status;
    if (journal->torn || journal->end % journal->block != 0)
        journal->resume_at = round_up(written, journal->block);
    int same = memcmp(place, journal->place, 16) == 0;
    journal->own = made || (same && !journal->is_volatile && journal->resume_at == 0);
    /* Ids in the torn bytes may have been handed out. If this cannot be written, the next call has to. */
    if (journal->resume_at != 0)
        (void)emj_flash_resume(journal);
    return EM_OK;
}

int emj_flash_resume(em_journal *journal)
{
    emj_draft draft;
    uint64_t at = journal->resume_at;
    journal->resume_at = 0;
    journal->own = 0;
    int status = emj_draft_begin(journal, &draft);
    draft.flags = EMJ_RESUMES;
    draft.start = at;
    status = status < 0 ? emj_draft_drop(journal, &draft, status) : emj_draft_finish(journal, &draft);
    if (status < 0)
        journal->resume_at = at;
    return status;
}
