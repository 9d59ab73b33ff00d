/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/suggest.h"

#include <string.h>

#define WORD_MAX 32

/* Edit distance in which swapping two neighbours counts as one edit: the most common typing error. Three rows
 * of the usual table are enough. Words longer than WORD_MAX are not near anything. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int rows[3][WORD_MAX + 1];
	unsigned int *before = rows[0], *above = rows[1], *row = rows[2];
	size_t na = strlen(a), nb = strlen(b);

	if (na > WORD_MAX || nb > WORD_MAX)
		return WORD_MAX;

	for (size_t j = 0; j <= nb; j++)
		above[j] = (unsigned int)j;
	memcpy(before, above, sizeof(rows[0]));

	for (size_t i = 1; i <= na; i++) {
		unsigned int *spare = before;

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned int change = above[j - 1] + (a[i - 1] != b[j - 1]);
			unsigned int best = MIN(MIN(above[j], row[j - 1]) + 1, change);

			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = MIN(best, before[j - 2] + 1);
			row[j] = best;
		}
		before = above;
		above = row;
		row = spare;
	}
	return above[nb];
}

void suggest_consider(struct suggestion *s, const char *typed, const char *candidate)
{
	size_t len = strlen(typed);
	unsigned int d, limit;

	if (!len)
		return;
	if (strlen(candidate) > len && strncmp(typed, candidate, len) == 0)
		d = 0; /* an abbreviation is not a mistake */
	else
		d = distance(typed, candidate);

	/* A third of the word may be wrong: "vf" is not "pf", but "fabirc" is "fabric". */
	limit = len < 3 ? 1 : (unsigned int)len / 3 + 1;
	if (d > limit || (s->word && d >= s->distance))
		return;
	s->word = candidate;
	s->distance = d;
}
