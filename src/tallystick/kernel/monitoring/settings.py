"""What both services' settings say of how they are watched: metrics, alerts that they judge, traces (RULES §13)."""

from typing import Annotated

from msgspec import Meta

AlertsEveryS = Annotated[
    int,
    Meta(
        ge=0,
        le=300,
        description="The pause between two looks at whether an alert is true, where no Prometheus looks; 0: never.",
        extra={"unit": "seconds"},
    ),
]
AlertsShortened = Annotated[
    int,
    Meta(
        ge=1,
        le=300,
        description="By how much the windows and waits of alert rules are divided. For trials only.",
    ),
]
MetricsHost = Annotated[
    str, Meta(min_length=1, description="The address on which Prometheus finds the process's metrics.")
]
MetricsPort = Annotated[
    int,
    Meta(ge=0, le=65535, description="The port of `/metrics`; 0: none. Every process has its own."),
]
TracesUrl = Annotated[
    str,
    Meta(
        description="Where traces are sent: the address for them of an OTLP/HTTP collector, such as "
        "http://127.0.0.1:4318/v1/traces; empty: none are made."
    ),
]
TracesHeaders = Annotated[
    str,
    Meta(
        description="What the collector asks for: headers as name=value, separated by commas. A secret.",
        extra={"secret": True},
    ),
]
TracesShare = Annotated[
    float,
    Meta(
        ge=0,
        le=1,
        description="How many of the orders that begin here are followed; one that a caller follows always is.",
        extra={"unit": "share, 0 to 1"},
    ),
]
