package docs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Page is one document.
type Page struct{ Path, Text string }

// Pages returns the documents of a checkout, sorted by path.
func Pages(root string) ([]Page, error) {
	var all []Page
	var errs []error
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		errs = append(errs, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			errs = append(errs, err)
			all = append(all, Page{file, string(text)})
		}
	}
	if len(all) < 10 {
		errs = append(errs, fmt.Errorf("found %d documents only", len(all)))
	}
	return all, errors.Join(errs...)
}

// Block is a fenced or indented block of code.
type Block struct {
	Page string
	Line int // of its first line, the fence excluded
	Lang string
	Text string
}

func (b Block) String() string { return fmt.Sprintf("%s:%d", b.Page, b.Line) }

// split separates the blocks of a page from its prose. The lines of the blocks are empty in the prose.
func (p Page) split() (blocks []Block, prose string) {
	var text strings.Builder
	var open *Block
	fenced, blank, list := false, true, false
	end := func() {
		if open != nil {
			blocks = append(blocks, *open)
		}
		open = nil
	}
	for i, line := range strings.Split(p.Text, "\n") {
		lang, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		code, indented := strings.CutPrefix(line, "    ")
		// In a list an indented line continues an item.
		list = (list || strings.HasPrefix(line, "- ") || isNumbered(line)) && (line == "" || !startsProse(line))
		switch {
		case fence && fenced:
			end()
			fenced = false
		case fence:
			end()
			open, fenced = &Block{Page: p.Path, Line: i + 2, Lang: lang}, true
		case fenced:
			open.Text += line + "\n"
		case indented && (open != nil || blank && !list):
			if open == nil {
				open = &Block{Page: p.Path, Line: i + 1}
			}
			open.Text += code + "\n"
		default:
			end()
			text.WriteString(line)
		}
		blank = line == ""
		text.WriteString("\n")
	}
	end()
	return blocks, text.String()
}

var numbered = regexp.MustCompile(`^[0-9]+\. `)

func isNumbered(line string) bool { return numbered.MatchString(line) }

// startsProse reports whether a line is neither an item of a list nor indented as the rest of one.
func startsProse(line string) bool {
	return !strings.HasPrefix(line, "- ") && !isNumbered(line) && !strings.HasPrefix(line, " ")
}

// Blocks returns the blocks of a page.
func (p Page) Blocks() []Block {
	blocks, _ := p.split()
	return blocks
}

var span = regexp.MustCompile("`([^`]+)`")

// Span is a piece of inline code, with single spaces for its line breaks.
type Span struct {
	Line int
	Text string
}

// Spans returns the inline code of a page.
func (p Page) Spans() (all []Span) {
	_, prose := p.split()
	for _, at := range span.FindAllStringSubmatchIndex(prose, -1) {
		text := strings.Join(strings.Fields(prose[at[2]:at[3]]), " ")
		all = append(all, Span{1 + strings.Count(prose[:at[0]], "\n"), text})
	}
	return all
}
