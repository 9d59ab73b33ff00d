/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An error as a person should see it: what is wrong (code), where (field), why and what to do (text).
 * Functions that can fail for a reason worth telling take a `struct err *` (NULL: not wanted) beside
 * their negative errno; err_set() fills it and returns the errno, so `return err_set(err, EINVAL, …)`. */

#include "util/util.h"

struct err {
	int code;	 /* positive errno; 0: no error */
	char field[64];	 /* the parameter that is wrong, e.g. "vlan.vid"; empty if none is to blame */
	char text[256];	 /* one sentence, no final newline */
};

int err_set(struct err *err, int code, const char *field, const char *fmt, ...) printf_like(4, 5);
