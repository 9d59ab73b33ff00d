/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The settings of fabrics, virtual PFs and functions: plain values, copied freely, the same for the model
 * (which validates and saves them), the API (which reads and prints them) and the data plane (which carries
 * them out). Thread-safety: values; no sharing. */

#include <net/if.h>

#include "settings/datapath_list.h"
#include "util/ether.h"
#include "util/util.h"

#define VPF_NAME_MAX        32  /* bytes with the final NUL; [A-Za-z0-9][A-Za-z0-9_.-]* */
#define VPF_MAX_VFS         255 /* of one virtual PF: QEMU's limit */
#define VPF_MAX_PFS         64  /* of one daemon */
#define VPF_MAX_FABRICS     64
#define VPF_MAX_QUEUE_PAIRS 16 /* of one function */
#define VPF_MTU_MIN         68 /* RFC 791 */
#define VPF_MTU_MAX         9216
#define VPF_FUNCTION_PF     0 /* functions are numbered 0: the PF itself, n+1: VF n */
#define VPF_FUNCTION_VF(n)  ((n) + 1)
#define VPF_MAX_FUNCTIONS   (VPF_MAX_VFS + 1)
#define VPF_MAX_DRIVER_MACS 64      /* unicast MACs that a driver may add to one function */
#define VPF_MAX_POLICY_MACS 64      /* ranges in a policy's list */
#define VPF_MAX_RATE        1000000 /* Mb/s */

enum uplink_type { UPLINK_NONE, UPLINK_TAP, UPLINK_NETDEV };

struct fabric_settings {
	char name[VPF_NAME_MAX];
	const struct fabric_type *type; /* fixed when added */
	struct params params;           /* the type's own */
	enum uplink_type uplink;
	char uplink_name[IFNAMSIZ]; /* tap: the netdev to create; netdev: the one to use; none: empty */
	bool learning;              /* learn source MACs of functions (default false) */
	uint32_t ageing;            /* s, 1…1000000, default 300: when an unseen learned MAC is forgotten */
	uint32_t max_learned;       /* 0…65536, default 256: learned MACs a function */
};

enum vlan_mode {
	VLAN_NONE,   /* untagged frames only, VLAN 0 (default) */
	VLAN_ACCESS, /* the switch inserts and strips the tag; the guest sends and sees untagged frames */
	VLAN_TRUNK,  /* the guest tags; only the VLANs of the set pass (bit 0: untagged frames) */
};

struct vlan_settings {
	enum vlan_mode mode;
	uint16_t vid;       /* access: 1…4094 */
	uint8_t pcp;        /* access: 0…7 */
	uint16_t tpid;      /* 0x8100 (802.1Q, default) or 0x88a8 (802.1ad): of the access tag */
	uint64_t trunk[64]; /* trunk: bit v set: VLAN v passes (0…4094), 802.1Q tags */
};

enum link_mode { LINK_AUTO /* follows the uplink's carrier */, LINK_ENABLE, LINK_DISABLE };

/* Settings that the guest's PF driver may ask for; bits of function_settings.pinned. Same as VPF_CTL_MAC… */
#define SETTING_MAC      0x01U
#define SETTING_VLAN     0x02U
#define SETTING_RATE     0x04U
#define SETTING_SPOOFCHK 0x08U
#define SETTING_TRUST    0x10U
#define SETTING_LINK     0x20U
#define SETTING_ALL      0x3fU

/* What is here has a row in function_fields.c, but for mac and failback, which the PF's settings say. */
struct function_settings {
	uint8_t mac[6];       /* the permanent MAC, which QEMU gives the guest; unicast, not zero */
	uint8_t admin_mac[6]; /* set by the administrator: all zeros: none (the driver may choose its own) */
	struct vlan_settings vlan;
	bool spoofchk; /* default true: frames with a foreign source MAC or VLAN are dropped */
	bool trust;    /* default false: may change its MAC though an admin_mac is set, may be promiscuous */
	enum link_mode link;
	uint32_t min_rate; /* Mb/s sent, 0: none: share of pf_policy.max_rate_total that it gets if it wants
			      it */
	uint32_t max_rate; /* Mb/s sent, 0: no limit; not below min_rate */
	uint32_t pinned;   /* SETTING_*: what only the host can change */
	uint16_t mtu;      /* VPF_MTU_MIN…VPF_MTU_MAX: longest L3 packet that passes */
	bool own_mtu;      /* default false: mtu follows the PF's */
	struct datapath_list datapaths; /* n 0 (default): as pf_settings.datapaths */
	bool failback;                  /* pf_settings.failback, as the data plane gets it */
};

enum mac_policy {
	MAC_POLICY_OWN,  /* the permanent MACs of the virtual PF's own functions (default) */
	MAC_POLICY_LIST, /* those, and the ranges of the list */
	MAC_POLICY_ANY,  /* any unicast MAC that is free on the fabric */
};

struct mac_range { /* first ≤ last */
	uint8_t first[6], last[6];
};

/* What the host lets the guest do with its virtual PF. The defaults allow what can be of no harm to others.
 */
struct pf_policy {
	/* through the PF's driver: the control channel */
	bool guest_control; /* default true: the guest may ask at all */
	uint64_t vlans[64]; /* bit v set: it may put its VFs into VLAN v (1…4094); default none; VLAN 0 always
			     */
	bool vlan_ad;       /* default false: also as 802.1ad tags */
	enum mac_policy macs;
	unsigned int mac_ranges_n;
	struct mac_range mac_ranges[VPF_MAX_POLICY_MACS];
	bool trust;        /* default false: it may make its VFs trusted */
	bool spoofchk_off; /* default false: it may turn their spoof check off */
	uint32_t max_vfs;  /* only VFs 0…max_vfs-1 have link; default VPF_MAX_VFS: all there are */
	/* in force regardless of its requests */
	uint32_t max_rate;       /* Mb/s that each VF may send; 0: no limit (default) */
	uint32_t max_rate_total; /* Mb/s that all functions may send together; 0: no limit (default) */
	/* through the functions' drivers */
	bool driver_mac;          /* default true: a driver may set its function's MAC and add unicast MACs */
	uint32_t max_driver_macs; /* 0…VPF_MAX_DRIVER_MACS, default 32, per function */
	bool promisc;             /* default false: a trusted function may be promiscuous */
};

struct pf_settings {
	char name[VPF_NAME_MAX];
	char fabric[VPF_NAME_MAX];
	uint32_t vfs;          /* 0…VPF_MAX_VFS, fixed when added */
	uint32_t queue_pairs;  /* 1…16, of every function, fixed when added */
	uint16_t mtu;          /* default of its functions, and what the guest is told (host_mtu); 1500 */
	char vm[VPF_NAME_MAX]; /* of the VM it is for: its virtual PFs share a key; default: the PF's name */
	char qmp[108];         /* QMP socket of the VM for vpfd's own use; empty: none */
	/* What may serve the functions' rings. n is never 0: where nothing is said, the default of the kind of
	 * fabric. */
	struct datapath_list datapaths;
	bool failback; /* default false: back to a better datapath of the list when it is available again */
	bool spoofchk; /* what its functions begin with when it is added, default true; then each has its own */
	struct pf_policy policy;
};

void fabric_settings_init(struct fabric_settings *s, const char *name);
void pf_settings_init(struct pf_settings *s, const char *name);
void function_settings_init(struct function_settings *s);
/* What serves the functions on such a fabric where nothing else is said. */
void datapath_list_init(struct datapath_list *list, const struct fabric_type *type);

static inline bool vlan_trunk_allows(const struct vlan_settings *v, uint16_t vid)
{
	return vid < 4096 && (v->trunk[vid / 64] >> (vid % 64) & 1);
}
