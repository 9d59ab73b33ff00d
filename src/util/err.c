/* SPDX-License-Identifier: Apache-2.0 */

#include "util/err.h"

#include <stdarg.h>
#include <stdio.h>

int(err_set)(struct err *err, int code, const char *field, const char *fmt, ...)
{
	if (err) {
		va_list ap;

		err->code = code;
		snprintf(err->field, sizeof(err->field), "%s", field ? field : "");
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return -code;
}
