package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Sizes in pixels of a column and a line of the dashboard's grid.
const (
	column = 50
	line   = 30
)

var (
	colors = []string{"#3274d9", "#ff9830", "#73bf69", "#b877d9", "#f2495c", "#5794f2", "#fade2a", "#8f3bb8"}
	states = map[string]string{"Ready": "#73bf69", "Repairing": "#5794f2", "Degraded": "#fade2a", "Stuck": "#ff9830", "Down": "#f2495c"}
)

// page is the picture as far as it is drawn.
type page struct {
	body   strings.Builder
	height int
}

func (p *page) add(format string, args ...any) { fmt.Fprintf(&p.body, format+"\n", args...) }

// text writes a line of text.
func (p *page) text(x, y, size int, color, text string) {
	p.add(`<text x="%d" y="%d" font-size="%d" fill="%s">%s</text>`, x, y, size, color, html.EscapeString(text))
}

func (p *page) svg() string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif">
<rect width="100%%" height="100%%" fill="#f4f5f5"/>
%s</svg>
`, 24*column, p.height, p.body.String())
}

// curve is a named series.
type curve struct {
	name string
	series
}

// panel draws a panel with the results of its queries.
func (p *page) panel(from *source, d *panel) error {
	x, y, w, h := d.GridPos.X*column, d.GridPos.Y*line, d.GridPos.W*column, d.GridPos.H*line
	p.height = max(p.height, y+h)
	if d.Type == "row" {
		p.text(x+8, y+20, 15, "#24292e", d.Title)
		return nil
	}
	var curves []curve
	for _, t := range d.Targets {
		all, err := from.query(t.Expr)
		if err != nil {
			return err
		}
		for _, s := range all {
			curves = append(curves, curve{legend(t.LegendFormat, s.labels), s})
		}
	}
	p.add(`<rect x="%d" y="%d" width="%d" height="%d" fill="#fff" stroke="#d8d9da"/>`, x+3, y+3, w-6, h-6)
	p.text(x+12, y+22, 13, "#24292e", d.Title)
	switch d.Type {
	case "stat":
		p.number(d, curves, x+12, y+h-24)
	case "table":
		p.table(curves, x+12, y+44, (h-60)/18)
	default:
		p.graph(d, curves, x+60, y+34, w-76, h-84)
	}
	return nil
}

// number draws the latest value.
func (p *page) number(d *panel, curves []curve, x, y int) {
	text := d.FieldConfig.Defaults.NoValue
	if len(curves) > 0 && !math.IsNaN(curves[0].last()) {
		text = short(curves[0].last(), "")
	}
	p.text(x, y, 34, "#24292e", text)
}

// table draws a line per series that has a value now.
func (p *page) table(curves []curve, x, y, lines int) {
	for _, c := range curves {
		if math.IsNaN(c.last()) || lines == 0 {
			continue
		}
		var cells []string
		for name, value := range c.labels {
			cells = append(cells, name+"="+value)
		}
		slices.Sort(cells)
		p.text(x, y, 12, "#24292e", strings.Join(cells, "  ")+"  "+short(c.last(), ""))
		y, lines = y+18, lines-1
	}
}

// graph draws the curves, a scale, and the names of those that are not zero.
func (p *page) graph(d *panel, curves []curve, x, y, w, h int) {
	stacked := d.FieldConfig.Defaults.Custom.Stacking.Mode == "normal"
	if stacked {
		stack(curves)
	}
	top := 0.0
	for _, c := range curves {
		for _, v := range c.values {
			if !math.IsNaN(v) {
				top = max(top, v)
			}
		}
	}
	if top == 0 {
		top = 1
	}
	for i := range 3 {
		at := y + h - i*h/2
		p.add(`<path d="M%d %dh%d" stroke="#e5e5e5"/>`, x, at, w)
		p.text(x-50, at+4, 11, "#6e7077", short(top*float64(i)/2, d.FieldConfig.Defaults.Unit))
	}
	// From the last, which is on top of the others if they are stacked.
	for i, c := range slices.Backward(curves) {
		color := colors[i%len(colors)]
		if s, is := states[c.name]; is {
			color = s
		}
		fill := "none"
		if stacked {
			fill = color
		}
		p.add(`<path d="%s" fill="%s" stroke="%s" stroke-width="1.5"/>`, path(c.values, stacked, top, x, y, w, h), fill, color)
		if i < 8 {
			at, below := x+i%4*w/4, y+h+22+i/4*16
			p.add(`<rect x="%d" y="%d" width="10" height="4" fill="%s"/>`, at, below-5, color)
			p.text(at+14, below, 11, "#24292e", c.name)
		}
	}
}

// stack adds to each curve the ones before it.
func stack(curves []curve) {
	for i := 1; i < len(curves); i++ {
		for at, below := range curves[i-1].values {
			if v := curves[i].values; !math.IsNaN(below) {
				v[at] = below + known(v[at])
			}
		}
	}
}

// known is v, or 0 for no value.
func known(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

// path is the line through the values, interrupted where there is none; or the area below the line.
func path(values []float64, area bool, top float64, x, y, w, h int) string {
	var b strings.Builder
	drawing := false
	for i, v := range values {
		at := x + i*w/(len(values)-1)
		switch {
		case math.IsNaN(v):
			if drawing && area {
				fmt.Fprintf(&b, "V%dZ", y+h)
			}
			drawing = false
			continue
		case drawing:
			b.WriteByte('L')
		case area:
			fmt.Fprintf(&b, "M%d %dL", at, y+h)
		default:
			b.WriteByte('M')
		}
		fmt.Fprintf(&b, "%d %.0f", at, float64(y+h)-v/top*float64(h))
		drawing = true
	}
	if drawing && area {
		fmt.Fprintf(&b, "V%dZ", y+h)
	}
	return b.String()
}

// short is a value with its unit.
func short(v float64, unit string) string {
	switch unit {
	case "bytes":
		return fmt.Sprintf("%.3g MiB", v/(1<<20))
	case "percentunit":
		return fmt.Sprintf("%.0f %%", 100*v)
	case "s":
		return fmt.Sprintf("%.3g s", v)
	case "ops", "reqps":
		return fmt.Sprintf("%.3g /s", v)
	}
	return fmt.Sprintf("%.3g", v)
}
