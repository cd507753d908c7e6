/* journal_index.c - what is known of a journal in memory: uuids, classes, live examples, seals, what can be undone. */
#include "journal.h"

int emj_uuid_find(const em_journal *journal, const uint8_t *bytes)
{
    /* From the newest on: ids mostly name the current uuid. */
    for (uint32_t i = journal->uuid_count; i > 0; i--)
        if (memcmp(journal->uuids[i - 1].bytes, bytes, 16) == 0)
            return (int)(i - 1);
    return EM_ERR_NOT_FOUND;
}

int emj_uuid_take(em_journal *journal, const uint8_t *bytes)
{
    int found = emj_uuid_find(journal, bytes);
    if (found >= 0)
        return found;
    if (journal->uuid_count == journal->limits.uuids)
        return EM_ERR_FULL;
    emj_uuid *fresh = &journal->uuids[journal->uuid_count];
    memset(fresh, 0, sizeof *fresh);
    memcpy(fresh->bytes, bytes, 16);
    return (int)journal->uuid_count++;
}

int emj_class_find(const em_journal *journal, const uint8_t *label, size_t size)
{
    uint32_t hash = em_crc32(0, label, size);
    for (uint32_t i = 0; i < journal->class_count; i++) {
        const emj_class *each = &journal->classes[i];
        int alike = each->count != 0 && each->hash == hash && each->size == size;
        if (alike && memcmp(emj_label_of(journal, i), label, size) == 0)
            return (int)i;
    }
    return EM_ERR_NOT_FOUND;
}

int emj_class_take(em_journal *journal, const uint8_t *label, size_t size)
{
    uint32_t slot = 0;
    int found = emj_class_find(journal, label, size);
    if (found >= 0)
        return found;
    while (slot < journal->class_count && journal->classes[slot].count != 0)
        slot++;
    if (slot == journal->limits.classes || size > journal->limits.label_bytes)
        return EM_ERR_FULL;
    if (slot == journal->class_count)
        journal->class_count++;
    journal->classes[slot].count = 0;
    journal->classes[slot].hash = em_crc32(0, label, size);
    journal->classes[slot].size = (uint32_t)size;
    memcpy(emj_label_of(journal, slot), label, size);
    emj_label_of(journal, slot)[size] = '\0';
    return (int)slot;
}

int emj_live_find(const em_journal *journal, uint32_t uuid, uint64_t counter)
{
    for (uint32_t i = 0; i < journal->live_count; i++)
        if (journal->live[i].counter == counter && journal->live[i].uuid == uuid)
            return (int)i;
    return EM_ERR_NOT_FOUND;
}

/* FNV-1a of 64 bits; never 0, which means no group. */
uint64_t emj_group_hash(const uint8_t *group, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ group[i]) * 0x100000001b3u;
    return hash ? hash : 1;
}

uint32_t emj_live_bury(em_journal *journal, uint64_t low, uint64_t high)
{
    uint32_t kept = 0, count = journal->live_count;
    for (uint32_t i = 0; i < count; i++) {
        const emj_live *each = &journal->live[i];
        int near = each->counter >= low && each->counter < high;
        if (near && emj_ranges_hold(&journal->dead, each->uuid, each->counter)) {
            journal->classes[each->of_class].count--;
            continue;
        }
        if (kept != i)
            journal->live[kept] = *each;
        kept++;
    }
    journal->live_count = kept;
    return count - kept;
}

/* How many ids of a seal are dead. */
static uint64_t dead_of(const em_journal *journal, const emj_seal *seal)
{
    uint64_t shared = 0;
    for (uint32_t i = 0; i < seal->ranges; i++) {
        const emj_range *part = &journal->pool[seal->first_range + i];
        shared += emj_ranges_shared(&journal->dead, part->uuid, part->first, part->end);
    }
    return shared;
}

int emj_seals_bury(em_journal *journal)
{
    int dropped = 0;
    for (uint32_t i = 0; i < journal->seal_count;) {
        uint64_t dead = dead_of(journal, &journal->seals[i]);
        if (dead == 0) {
            i++;
            continue;
        }
        if (dead != journal->seals[i].count)
            return EM_ERR_DAMAGED;
        emj_seal_drop(journal, i);
        dropped++;
    }
    return dropped;
}

/* What lies behind it moves up, what is staged or was only read too. */
void emj_seal_drop(em_journal *journal, uint32_t index)
{
    emj_seal gone = journal->seals[index];
    uint32_t behind = gone.first_range + gone.ranges, left = journal->seal_count + journal->staged_seals - index - 1;
    memmove(journal->pool + gone.first_range, journal->pool + behind,
            (journal->limits.seal_ranges - behind) * sizeof *journal->pool);
    journal->pool_count -= gone.ranges;
    journal->seal_count--;
    memmove(journal->seals + index, journal->seals + index + 1, left * sizeof *journal->seals);
    for (uint32_t i = index; i < index + left; i++)
        journal->seals[i].first_range -= gone.ranges;
    journal->classes[gone.of_class].count -= gone.count;
}

static int drop_older_seals(em_journal *journal, uint32_t ranges)
{
    int dropped = 0;
    for (uint32_t i = 0; i < journal->seal_count;) {
        const emj_seal *old = &journal->seals[i];
        const emj_range *fresh = journal->pool + journal->pool_count;
        uint64_t both = emj_runs_shared(fresh, ranges, journal->pool + old->first_range, old->ranges);
        if (both != 0 && both != old->count)
            return EM_ERR_DAMAGED;
        if (both != 0)
            emj_seal_drop(journal, i);
        else
            i++;
        dropped |= both != 0;
    }
    return dropped;
}

static int drop_sealed_examples(em_journal *journal, uint32_t ranges)
{
    uint32_t kept = 0, count = journal->live_count;
    for (uint32_t i = 0; i < count; i++) {
        const emj_live *each = &journal->live[i];
        emj_range one = {each->counter, each->counter + 1, each->uuid, 0};
        if (emj_runs_shared(&one, 1, journal->pool + journal->pool_count, ranges))
            journal->classes[each->of_class].count--;
        else
            journal->live[kept++] = *each;
    }
    journal->live_count = kept;
    return kept != count;
}

int emj_seal_displace(em_journal *journal, uint32_t ranges)
{
    int seals = drop_older_seals(journal, ranges);
    return seals < 0 ? seals : drop_sealed_examples(journal, ranges) | seals;
}

void emj_note_used(em_journal *journal, uint32_t uuid, uint64_t end)
{
    if (end > journal->clock && end < EMJ_CLOCK_END)
        journal->clock = end;
    if (uuid == journal->uuid && end > journal->next)
        journal->next = end;
}

/* One range of a seal to the place `at` of the pool; it must not meet those before it, from `from` on. */
static int take_range(em_journal *journal, const uint8_t *data, uint32_t from, uint32_t at)
{
    if (emj_range_check(data) < 0)
        return EM_ERR_DAMAGED;
    int uuid = emj_uuid_take(journal, data);
    if (uuid < 0)
        return uuid;
    emj_range *part = &journal->pool[at];
    part->uuid = (uint32_t)uuid;
    part->rank = 0;
    part->first = emj_load64(data + 16);
    part->end = part->first + emj_load64(data + 24);
    for (uint32_t i = from; i < at; i++) {
        const emj_range *other = &journal->pool[i];
        if (other->uuid == part->uuid && other->first < part->end && part->first < other->end)
            return EM_ERR_DAMAGED;
    }
    return EM_OK;
}

int emj_seal_ranges(em_journal *journal, const emj_record *record, const emj_seal_head *head)
{
    uint32_t from = (uint32_t)(emj_pool_tail(journal) - journal->pool);
    uint64_t count = 0;
    if (head->ranges > emj_pool_room(journal))
        return EM_ERR_FULL;
    for (uint32_t i = 0; i < head->ranges; i++) {
        const uint8_t *data;
        uint64_t at = record->offset + EMJ_FRAME + head->at + (uint64_t)i * EMJ_RANGE;
        int status = emj_bytes(&journal->source, at, EMJ_RANGE, &data);
        if (status == EM_OK)
            status = take_range(journal, data, from, from + i);
        if (status < 0)
            return status;
        uint64_t size = journal->pool[from + i].end - journal->pool[from + i].first;
        if (size > UINT64_MAX - count)
            return EM_ERR_DAMAGED;
        count += size;
    }
    return count == head->count ? EM_OK : EM_ERR_DAMAGED;
}

void emj_note_undo(em_journal *journal, uint64_t number, uint64_t start, uint32_t live)
{
    if (journal->limits.undo == 0)
        return;
    if (journal->undo_count == journal->limits.undo) { /* the oldest can be taken back no more */
        journal->undo_count--;
        memmove(journal->undo, journal->undo + 1, journal->undo_count * sizeof *journal->undo);
    }
    emj_undo *each = &journal->undo[journal->undo_count++];
    each->number = number;
    each->start = start;
    each->live = live;
    each->unused = 0;
}

void emj_forget_undo(em_journal *journal, uint64_t number)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < journal->undo_count; i++)
        if (journal->undo[i].number != number)
            journal->undo[kept++] = journal->undo[i];
    journal->undo_count = kept;
}

void emj_note_targets(em_journal *journal, uint32_t targets)
{
    if (journal->targets == EM_ANY_TARGETS)
        journal->targets = targets;
    else if (journal->targets != targets)
        journal->mixed = 1;
}
