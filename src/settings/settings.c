/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/settings.h"

#include <stdio.h>
#include <string.h>

void fabric_settings_init(struct fabric_settings *s, const char *name)
{
	*s = (struct fabric_settings){.uplink = UPLINK_NONE, .ageing = 300, .max_learned = 256};
	snprintf(s->name, sizeof(s->name), "%s", name);
}

void pf_settings_init(struct pf_settings *s, const char *name)
{
	*s = (struct pf_settings){
		.queue_pairs = 1,
		.mtu = 1500,
		.spoofchk = true,
		.policy = {.guest_control = true,
			   .max_vfs = VPF_MAX_VFS,
			   .driver_mac = true,
			   .max_driver_macs = 32},
	};
	datapath_list_init(&s->datapaths, FABRIC_BUILTIN);
	snprintf(s->name, sizeof(s->name), "%s", name);
	snprintf(s->vm, sizeof(s->vm), "%s", name);
}

void function_settings_init(struct function_settings *s)
{
	*s = (struct function_settings){
		.vlan = {.mode = VLAN_NONE, .tpid = ETHER_TPID_Q},
		.spoofchk = true,
		.link = LINK_AUTO,
		.mtu = 1500,
	};
}

void datapath_list_init(struct datapath_list *list, enum fabric_type type)
{
	*list = (struct datapath_list){0};
	if (type == FABRIC_BRIDGE)
		list->pref[list->n++].type = DATAPATH_VHOST_NET;
	list->pref[list->n++].type = DATAPATH_BUILTIN;
}
