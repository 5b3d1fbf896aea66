#include "daemon/nearest.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { NAME_MAX_COMPARED = 48 };

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    a = a < b ? a : b;
    return a < c ? a : c;
}

/* Edits (insert, remove, replace, swap of neighbours) from `a` to `b`. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][NAME_MAX_COMPARED + 1];
    size_t a_len = strnlen(a, NAME_MAX_COMPARED);
    size_t b_len = strnlen(b, NAME_MAX_COMPARED);

    for (unsigned j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3];
        const unsigned *above2 = rows[(i + 1) % 3];

        row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            unsigned replaced = above[j - 1] + (a[i - 1] != b[j - 1]);

            row[j] = min3(above[j] + 1, row[j - 1] + 1, replaced);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                above2[j - 2] + 1 < row[j]) {
                row[j] = above2[j - 2] + 1;
            }
        }
    }
    return rows[a_len % 3][b_len];
}

void nearest_offer(struct nearest *nearest, const char *typed, const char *candidate)
{
    unsigned d = distance(typed, candidate);
    size_t len = strlen(candidate);
    bool close = d <= 2 || d <= len / 3;

    if (close && d < len && (nearest->best == NULL || d < nearest->distance)) {
        *nearest = (struct nearest){.best = candidate, .distance = d};
    }
}
