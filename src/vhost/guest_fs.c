/* SPDX-License-Identifier: Apache-2.0 */

#include "vhost/guest_fs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

/* linux/magic.h lacks some of these on older systems, and of others has no name for users. */
static const struct guest_fs {
	const char *name;
	uint32_t type;
} known[] = {
	{"tmpfs", 0x01021994},     {"hugetlbfs", 0x958458f6}, {"ext4", 0xef53},     {"xfs", 0x58465342},
	{"btrfs", 0x9123683e},     {"f2fs", 0xf2f52010},      {"zfs", 0x2fc12fc1},  {"bcachefs", 0xca451a4e},
	{"overlayfs", 0x794c7630}, {"fuse", 0x65735546},      {"nfs", 0x6969},      {"9p", 0x01021997},
	{"ceph", 0x00c36400},      {"smb2", 0xfe534d42},      {"cifs", 0xff534d42},
};
#define ALWAYS 2u /* the first ones of `known` */

static uint32_t allowed[ARRAY_SIZE(known) + 8];
static unsigned int n_allowed;

bool guest_fs_allowed(uint32_t type)
{
	for (unsigned int i = 0; i < ALWAYS; i++)
		if (known[i].type == type)
			return true;
	for (unsigned int i = 0; i < n_allowed; i++)
		if (allowed[i] == type)
			return true;
	return false;
}

static uint32_t type_of(const char *name)
{
	unsigned long type;
	char *end;

	for (unsigned int i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(known[i].name, name))
			return known[i].type;
	if (strncmp(name, "0x", 2))
		return 0;
	errno = 0;
	type = strtoul(name, &end, 16);
	return errno || *end || type > UINT32_MAX ? 0 : (uint32_t)type;
}

int guest_fs_allow(const char *name)
{
	uint32_t type = type_of(name);

	if (!type)
		return -EINVAL;
	if (guest_fs_allowed(type))
		return 0;
	if (n_allowed == ARRAY_SIZE(allowed))
		return -ENOSPC;
	allowed[n_allowed++] = type;
	return 0;
}

const char *guest_fs_name(uint32_t type, char buf[GUEST_FS_NAME])
{
	for (unsigned int i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].type == type)
			return known[i].name;
	snprintf(buf, GUEST_FS_NAME, "type 0x%x", type);
	return buf;
}
