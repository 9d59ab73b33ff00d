/* SPDX-License-Identifier: Apache-2.0 */

#include "settings_same.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

/* Each uses `a`, `b`, `file` and `line` of the function that it is in. */
#define SAME(field)                                                                                          \
	do {                                                                                                 \
		if (a->field != b->field)                                                                    \
			differs(#field, file, line);                                                         \
	} while (0)
#define SAME_TEXT(field)                                                                                     \
	do {                                                                                                 \
		if (strcmp(a->field, b->field) != 0)                                                         \
			differs(#field, file, line);                                                         \
	} while (0)
/* Arrays of whole numbers, which have no padding. */
#define SAME_ARRAY(field)                                                                                    \
	do {                                                                                                 \
		if (memcmp(a->field, b->field, sizeof(a->field)) != 0)                                       \
			differs(#field, file, line);                                                         \
	} while (0)

static void differs(const char *field, const char *file, int line)
{
	print_error("%s differs\n", field);
	_fail(file, line);
}

void same_fabric(const struct fabric_settings *a, const struct fabric_settings *b, const char *file, int line)
{
	SAME_TEXT(name);
	SAME(type);
	SAME_ARRAY(params.bytes);
	SAME(uplink);
	SAME_TEXT(uplink_name);
	SAME(learning);
	SAME(ageing);
	SAME(max_learned);
}

void same_vlan(const struct vlan_settings *a, const struct vlan_settings *b, const char *file, int line)
{
	SAME(mode);
	SAME(vid);
	SAME(pcp);
	SAME(tpid);
	SAME_ARRAY(trunk);
}

static void same_pref(const struct datapath_pref *a, const struct datapath_pref *b, const char *file,
		      int line)
{
	SAME(type);
	SAME_ARRAY(params.bytes);
}

static void same_list(const struct datapath_list *a, const struct datapath_list *b, const char *file,
		      int line)
{
	SAME(n);
	for (unsigned int i = 0; i < a->n; i++)
		same_pref(&a->pref[i], &b->pref[i], file, line);
}

void same_function(const struct function_settings *a, const struct function_settings *b, const char *file,
		   int line)
{
	SAME_ARRAY(mac);
	SAME_ARRAY(admin_mac);
	same_vlan(&a->vlan, &b->vlan, file, line);
	SAME(spoofchk);
	SAME(trust);
	SAME(link);
	SAME(min_rate);
	SAME(max_rate);
	SAME(pinned);
	SAME(mtu);
	same_list(&a->datapaths, &b->datapaths, file, line);
	SAME(failback);
}

static void same_policy(const struct pf_policy *a, const struct pf_policy *b, const char *file, int line)
{
	SAME(guest_control);
	SAME_ARRAY(vlans);
	SAME(vlan_ad);
	SAME(macs);
	SAME(mac_ranges_n);
	SAME_ARRAY(mac_ranges);
	SAME(trust);
	SAME(spoofchk_off);
	SAME(max_vfs);
	SAME(max_rate);
	SAME(max_rate_total);
	SAME(driver_mac);
	SAME(max_driver_macs);
	SAME(promisc);
}

void same_pf(const struct pf_settings *a, const struct pf_settings *b, const char *file, int line)
{
	SAME_TEXT(name);
	SAME_TEXT(fabric);
	SAME(vfs);
	SAME(queue_pairs);
	SAME(mtu);
	SAME_TEXT(vm);
	SAME_TEXT(qmp);
	same_list(&a->datapaths, &b->datapaths, file, line);
	SAME(failback);
	SAME(spoofchk);
	same_policy(&a->policy, &b->policy, file, line);
}
