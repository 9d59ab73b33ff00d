/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An error as an operator should see it: what is wrong (code), where (field), why and what to do (text).
 * Functions that can fail for a reason worth reporting take a `struct err *` (NULL: not wanted) in addition
 * to returning a negative errno; err_set() fills it and returns the errno, so `return err_set(err, EINVAL,
 * …)`. */

#include "util/util.h"

struct err {
	int code;       /* positive errno; 0: no error */
	char field[64]; /* the parameter that is wrong, e.g. "vlan.vid"; empty if none is to blame */
	char text[256]; /* one sentence, no final newline */
};

int err_set(struct err *err, int code, const char *field, const char *fmt, ...) printf_like(4, 5);

#if defined(__clang_analyzer__) || defined(__cppcheck__)
/* Static analysis sees one file at a time, where err_set() might return 0: it would follow paths on which a
 * call both failed and did not. `code` must be a positive errno. */
#define err_set(err, code, ...)                                                                              \
	({                                                                                                   \
		int err_code_ = (code);                                                                      \
		(err_set)((err), err_code_, __VA_ARGS__);                                                    \
		if (err_code_ <= 0)                                                                          \
			__builtin_unreachable();                                                             \
		-err_code_;                                                                                  \
	})
#endif
