/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Operations that may be answered later.
 *
 * Such an operation returns 0 or a negative errno (`err` filled) if it is done: then no answer follows. It returns
 * ANSWER_LATER if it is under way: then `answer` is called exactly once, from the event loop and never from within
 * the call that began the operation, with 0 or a negative errno and the reason. The module that offers the operation
 * says within which time, and after which of its calls a pending answer no longer comes.
 *
 * Arguments are borrowed for the call, `err` of an answer for the answer; struct answer is copied.
 * Thread-safety: that of the operation. */

#include "util/err.h"

#define ANSWER_LATER 1

struct answer {
	void (*done)(void *ctx, int r, const struct err *err); /* NULL: the caller does not wait */
	void *ctx;
};

/* `err` may be NULL. */
static inline void answer_give(const struct answer *answer, int r, const struct err *err)
{
	static const struct err none;

	if (answer->done)
		answer->done(answer->ctx, r, err ? err : &none);
}
