package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// panel is a panel that can be built.
type panel = cog.Builder[dashboard.Panel]

// Sizes of panels; a row is 24 wide.
const (
	width, height         = 12, 8
	statWidth, statHeight = 4, 4
)

// query is an expression with the legend of its series.
type query struct{ expr, legend string }

// number shows one number. It is red from 1 on if bad is true.
func number(title, description, expr string, bad bool) panel {
	color := "green"
	if bad {
		color = "red"
	}
	return stat.NewPanelBuilder().Title(title).Description(description).Datasource(source()).Span(statWidth).Height(statHeight).
		GraphMode(common.BigValueGraphModeArea).NoValue("0").Orientation(common.VizOrientationAuto).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps([]dashboard.Threshold{
			{Color: "green"}, {Value: cog.ToPtr(1.0), Color: color},
		})).
		WithTarget(target(0, query{expr, ""}))
}

// graph shows series over time.
func graph(title, description, unit string, queries ...query) *timeseries.PanelBuilder {
	p := timeseries.NewPanelBuilder().Title(title).Description(description).Datasource(source()).Span(width).Height(height).
		Unit(unit).Min(0).FillOpacity(10).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for i, q := range queries {
		p.WithTarget(target(i, q))
	}
	return p
}

// stacked makes the series of a graph add up.
func stacked(p *timeseries.PanelBuilder) *timeseries.PanelBuilder {
	return p.FillOpacity(40).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A"))
}

// byState gives each state of a bond its color.
func byState(p *timeseries.PanelBuilder) panel {
	for _, s := range []struct{ state, color string }{
		{"Ready", "green"}, {"Repairing", "blue"}, {"Degraded", "yellow"}, {"Stuck", "orange"}, {"Down", "red"},
	} {
		p.OverrideByName(s.state, []dashboard.DynamicConfigValue{{
			Id: "color", Value: map[string]string{"mode": "fixed", "fixedColor": s.color},
		}})
	}
	return p
}

// list shows the latest values as a table.
func list(title, description, expr string) panel {
	return table.NewPanelBuilder().Title(title).Description(description).Datasource(source()).Span(width).Height(height).
		WithTarget(target(0, query{expr, ""}).Instant().Format(prometheus.PromQueryFormatTable))
}

// target is the query at position i of its panel.
func target(i int, q query) *prometheus.DataqueryBuilder {
	t := prometheus.NewDataqueryBuilder().Datasource(source()).RefId(string(rune('A' + i))).Expr(q.expr)
	if q.legend != "" {
		t.LegendFormat(q.legend)
	}
	return t
}
