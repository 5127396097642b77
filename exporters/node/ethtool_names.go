package node

import (
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/metric"
)

// ethtoolNaming makes names of metrics from the names that drivers give to their
// statistics, which are any text: rx_packets, port.tx_size_64, [0]: rx bytes.
type ethtoolNaming struct {
	unfit, received, transmitted *regexp.Regexp
	special                      map[string]*metric.Family // by the clean name
}

func newEthtoolNaming() *ethtoolNaming {
	return &ethtoolNaming{
		unfit:       mustPattern(`_*[^0-9A-Za-z_]+_*`),
		received:    mustPattern(`(^|_)rx(_|$)`),
		transmitted: mustPattern(`(^|_)tx(_|$)`),
		special:     map[string]*metric.Family{},
	}
}

// clean makes one underscore of everything that a name cannot hold.
func (n *ethtoolNaming) clean(stat string) string { return n.unfit.ReplaceAllString(stat, "_") }

// family is the name of the family of a statistic with a clean name.
func (n *ethtoolNaming) family(clean string) string {
	if f, ok := n.special[clean]; ok {
		return f.Name()
	}
	name := strings.TrimLeft(strings.ToLower(clean), "_")
	name = n.received.ReplaceAllString(name, "${1}received${2}")
	name = n.transmitted.ReplaceAllString(name, "${1}transmitted${2}")
	return "node_ethtool_" + name
}

// ethtoolPort is a kind of port and its bit among the link modes.
type ethtoolPort struct {
	bit  int
	name string
}

func ethtoolPorts() []ethtoolPort {
	return []ethtoolPort{
		{unix.ETHTOOL_LINK_MODE_TP_BIT, "TP"},
		{unix.ETHTOOL_LINK_MODE_AUI_BIT, "AUI"},
		{unix.ETHTOOL_LINK_MODE_MII_BIT, "MII"},
		{unix.ETHTOOL_LINK_MODE_FIBRE_BIT, "FIBRE"},
		{unix.ETHTOOL_LINK_MODE_BNC_BIT, "BNC"},
		{unix.ETHTOOL_LINK_MODE_Backplane_BIT, "Backplane"},
	}
}

// ethtoolSpeed is a link mode.
type ethtoolSpeed struct {
	bit, megabits int
	half          bool
	name          string
}

// ethtoolSpeeds are the link modes in the 32 bits of struct ethtool_cmd but
// 2500baseX, which node_exporter leaves out.
func ethtoolSpeeds() []ethtoolSpeed {
	return []ethtoolSpeed{
		{unix.ETHTOOL_LINK_MODE_10baseT_Half_BIT, 10, true, "10baseT"},
		{unix.ETHTOOL_LINK_MODE_10baseT_Full_BIT, 10, false, "10baseT"},
		{unix.ETHTOOL_LINK_MODE_100baseT_Half_BIT, 100, true, "100baseT"},
		{unix.ETHTOOL_LINK_MODE_100baseT_Full_BIT, 100, false, "100baseT"},
		{unix.ETHTOOL_LINK_MODE_1000baseT_Half_BIT, 1000, true, "1000baseT"},
		{unix.ETHTOOL_LINK_MODE_1000baseT_Full_BIT, 1000, false, "1000baseT"},
		{unix.ETHTOOL_LINK_MODE_10000baseT_Full_BIT, 10_000, false, "10000baseT"},
		{unix.ETHTOOL_LINK_MODE_1000baseKX_Full_BIT, 1000, false, "1000baseKX"},
		{unix.ETHTOOL_LINK_MODE_10000baseKX4_Full_BIT, 10_000, false, "10000baseKX4"},
		{unix.ETHTOOL_LINK_MODE_10000baseKR_Full_BIT, 10_000, false, "10000baseKR"},
		{unix.ETHTOOL_LINK_MODE_10000baseR_FEC_BIT, 10_000, false, "10000baseR_FEC"},
		{unix.ETHTOOL_LINK_MODE_20000baseMLD2_Full_BIT, 20_000, false, "20000baseMLD2"},
		{unix.ETHTOOL_LINK_MODE_20000baseKR2_Full_BIT, 20_000, false, "20000baseKR2"},
		{unix.ETHTOOL_LINK_MODE_40000baseKR4_Full_BIT, 40_000, false, "40000baseKR4"},
		{unix.ETHTOOL_LINK_MODE_40000baseCR4_Full_BIT, 40_000, false, "40000baseCR4"},
		{unix.ETHTOOL_LINK_MODE_40000baseSR4_Full_BIT, 40_000, false, "40000baseSR4"},
		{unix.ETHTOOL_LINK_MODE_40000baseLR4_Full_BIT, 40_000, false, "40000baseLR4"},
		{unix.ETHTOOL_LINK_MODE_56000baseKR4_Full_BIT, 56_000, false, "56000baseKR4"},
		{unix.ETHTOOL_LINK_MODE_56000baseCR4_Full_BIT, 56_000, false, "56000baseCR4"},
		{unix.ETHTOOL_LINK_MODE_56000baseSR4_Full_BIT, 56_000, false, "56000baseSR4"},
		{unix.ETHTOOL_LINK_MODE_56000baseLR4_Full_BIT, 56_000, false, "56000baseLR4"},
		{unix.ETHTOOL_LINK_MODE_25000baseCR_Full_BIT, 25_000, false, "25000baseCR"},
	}
}
