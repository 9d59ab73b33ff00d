// SPDX-License-Identifier: GPL-2.0-only
#include <linux/dmi.h>
#include <linux/printk.h>
#include <linux/string.h>

#include "key.h"
#include "codec.h"
#include "compat.h"

#define SMBIOS_OEM_STRINGS 11

struct vpf_key vpf_keys[VPF_MAX_KEYS];
unsigned int vpf_keys_n;

static void add_string(const char *text)
{
	const size_t prefix = sizeof(VPF_CTL_SMBIOS_PREFIX) - 1;
	u8 bytes[VPF_CTL_KEY_LEN];

	if (strncmp(text, VPF_CTL_SMBIOS_PREFIX, prefix))
		return;
	if (strlen(text) != prefix + 2 * sizeof(bytes) ||
	    hex2bin(bytes, text + prefix, sizeof(bytes)))
		pr_warn("vpf: a vpf key in SMBIOS is not %zu hexadecimal digits\n",
			2 * sizeof(bytes));
	else if (vpf_keys_n == VPF_MAX_KEYS)
		pr_warn("vpf: more than %d vpf keys in SMBIOS: the others are ignored\n",
			VPF_MAX_KEYS);
	else
		vpf_key_from_bytes(&vpf_keys[vpf_keys_n++], bytes);
	memzero_explicit(bytes, sizeof(bytes));
}

/* SMBIOS 3.7 §7.12. The strings follow the formatted area, each ends with a NUL, and another NUL
 * follows the last: dmi_walk() has made sure that it is there.
 */
static void look_at(const struct dmi_header *header, void *unused)
{
	const char *text = (const char *)header + header->length;
	unsigned int n;

	if (header->type != SMBIOS_OEM_STRINGS || header->length < 5)
		return;
	for (n = ((const u8 *)header)[4]; n && *text; n--) {
		add_string(text);
		text += strlen(text) + 1;
	}
}

void vpf_keys_read(void)
{
	dmi_walk(look_at, NULL);
}
