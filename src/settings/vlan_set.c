/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/vlan_set.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define VID_LAST 4094

/* Reads a VLAN id at *p and advances past it. */
static bool read_vid(const char **p, unsigned int *ret)
{
	unsigned int v = 0, digits = 0;

	for (; **p >= '0' && **p <= '9' && digits < 5; (*p)++, digits++)
		v = v * 10 + (unsigned int)(**p - '0');
	if (!digits || digits > 4 || v > VID_LAST)
		return false;
	*ret = v;
	return true;
}

int vlan_set_parse(const char *text, const char *field, uint64_t ret[64], struct err *err)
{
	uint64_t set[64] = {0};
	const char *p = text;

	for (;;) {
		unsigned int first, last;

		if (!read_vid(&p, &first))
			goto bad;
		last = first;
		if (*p == '-') {
			p++;
			if (!read_vid(&p, &last))
				goto bad;
		}
		if (last < first)
			return err_set(err, EINVAL, field, "the range %u-%u runs backwards: write %u-%u",
				       first, last, last, first);
		for (unsigned int v = first; v <= last; v++)
			set[v / 64] |= UINT64_C(1) << v % 64;
		if (!*p)
			break;
		if (*p++ != ',')
			goto bad;
	}
	memcpy(ret, set, sizeof(set));
	return 0;
bad:
	return err_set(
		err, EINVAL, field,
		"must be VLANs and ranges from 0 (untagged) to %u separated by commas, such as 0,10-20,30",
		VID_LAST);
}

const char *vlan_set_format(const uint64_t set[64], char ret[VLAN_SET_TEXT_MAX])
{
	size_t n = 0;

	ret[0] = '\0';
	for (unsigned int v = 0; v <= VID_LAST; v++) {
		unsigned int last = v;

		if (!(set[v / 64] >> v % 64 & 1))
			continue;
		while (last < VID_LAST && set[(last + 1) / 64] >> (last + 1) % 64 & 1)
			last++;
		n += (size_t)snprintf(ret + n, VLAN_SET_TEXT_MAX - n, "%s%u", n ? "," : "", v);
		if (last > v)
			n += (size_t)snprintf(ret + n, VLAN_SET_TEXT_MAX - n, "%c%u",
					      last > v + 1 ? '-' : ',', last);
		v = last;
	}
	return ret;
}
