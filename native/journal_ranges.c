/* journal_ranges.c - sets of ids as runs: a uuid and the counters from first to before end. Runs that touch are one. */
#include "journal.h"

void emj_ranges_clear(emj_ranges *set, uint32_t uuids)
{
    set->count = set->ranks = 0;
    for (uint32_t i = 0; i < uuids; i++)
        set->uuids[i].rank[set->which] = 0;
}

/* The first run of the set whose end is not below `counter` (of this uuid's rank), or where it would be. */
static uint32_t lower_bound(const emj_ranges *set, uint32_t rank, uint64_t counter)
{
    uint32_t low = 0, high = set->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const emj_range *each = &set->items[middle];
        if (each->rank < rank || (each->rank == rank && each->end < counter))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int emj_ranges_add(emj_ranges *set, uint32_t uuid, uint64_t first, uint64_t end)
{
    uint32_t known = set->uuids[uuid].rank[set->which], rank = known ? known : set->ranks + 1;
    uint32_t low = lower_bound(set, rank, first), high = low;
    while (high < set->count && set->items[high].rank == rank && set->items[high].first <= end) {
        if (set->items[high].first < first)
            first = set->items[high].first;
        if (set->items[high].end > end)
            end = set->items[high].end;
        high++;
    }
    if (low == high && set->count == set->room)
        return EM_ERR_FULL;
    memmove(set->items + low + 1, set->items + high, (set->count - high) * sizeof *set->items);
    set->count = set->count + 1 - (high - low);
    set->items[low].first = first;
    set->items[low].end = end;
    set->items[low].uuid = uuid;
    set->items[low].rank = rank;
    set->uuids[uuid].rank[set->which] = rank;
    if (!known)
        set->ranks++;
    return EM_OK;
}

int emj_ranges_hold(const emj_ranges *set, uint32_t uuid, uint64_t counter)
{
    return emj_ranges_shared(set, uuid, counter, counter + 1) != 0;
}

uint64_t emj_ranges_shared(const emj_ranges *set, uint32_t uuid, uint64_t first, uint64_t end)
{
    uint32_t rank = set->uuids[uuid].rank[set->which];
    uint64_t shared = 0;
    if (rank == 0)
        return 0;
    for (uint32_t i = lower_bound(set, rank, first); i < set->count; i++) {
        const emj_range *each = &set->items[i];
        if (each->rank != rank || each->first >= end)
            break;
        uint64_t from = each->first > first ? each->first : first, to = each->end < end ? each->end : end;
        shared += to > from ? to - from : 0;
    }
    return shared;
}

const emj_range *emj_ranges_from(const emj_ranges *set, uint32_t uuid, uint64_t counter)
{
    uint32_t rank = set->uuids[uuid].rank[set->which], at = rank ? lower_bound(set, rank, counter + 1) : set->count;
    return at < set->count && set->items[at].rank == rank ? &set->items[at] : NULL;
}

uint64_t emj_runs_shared(const emj_range *a, uint32_t a_count, const emj_range *b, uint32_t b_count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < a_count; i++) {
        for (uint32_t k = 0; k < b_count; k++) {
            uint64_t from = a[i].first > b[k].first ? a[i].first : b[k].first;
            uint64_t to = a[i].end < b[k].end ? a[i].end : b[k].end;
            if (a[i].uuid == b[k].uuid && to > from)
                sum += to - from;
        }
    }
    return sum;
}

/* How many runs of the set end where this one begins or begin where it ends. */
static uint32_t touching(const emj_ranges *set, const emj_range *run)
{
    uint32_t rank = set->uuids[run->uuid].rank[set->which], count = 0;
    if (rank == 0)
        return 0;
    for (uint32_t i = lower_bound(set, rank, run->first); i < set->count; i++) {
        if (set->items[i].rank != rank || set->items[i].first > run->end)
            break;
        count++;
    }
    return count;
}

int64_t emj_ranges_growth(const emj_ranges *set, const emj_ranges *more)
{
    int64_t growth = 0;
    for (uint32_t i = 0; i < more->count; i++)
        growth += 1 - (int64_t)touching(set, &more->items[i]);
    return growth;
}
