# `rdo image build` sets the mirrors (DIB_DISTRIBUTION_MIRROR, DIB_APT_SOURCES_CONF) from apt's own
# configuration of the host.
export DIB_RELEASE=bookworm
# systemd-networkd configures the interfaces, not ifupdown.
export DIB_APT_MINIMAL_CREATE_INTERFACES=0
