// Measures the page that is open. The result is a list of what is wrong.
(() => {
  const wrong = []
  const root = document.documentElement
  if (root.scrollWidth > root.clientWidth) wrong.push(`scrolls sideways: ${root.scrollWidth} > ${root.clientWidth}`)
  if (!root.lang) wrong.push('no lang')
  if (!document.title) wrong.push('no title')
  const headings = document.querySelectorAll('h1').length
  if (headings !== 1) wrong.push(`${headings} h1`)

  // WCAG 2.2, relative luminance and contrast ratio; colours are [r, g, b, alpha], 0 to 255 and 0 to 1.
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const parse = (text) => {
    canvas.clearRect(0, 0, 1, 1)
    canvas.fillStyle = text
    canvas.fillRect(0, 0, 1, 1)
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
    return [r, g, b, a / 255]
  }
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1]
  const backdrop = (element) => {
    const layers = []
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor))
    layers.push(parse('Canvas'))
    return layers.reduceRight((below, layer) => over(layer, below))
  }
  const luminance = (colour) => {
    const [r, g, b] = colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const contrast = (a, b) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05)

  let measured = 0
  for (const e of document.body.querySelectorAll('*')) {
    const box = e.getBoundingClientRect()
    const words = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim()) || (e.matches('input:not([type=hidden])') && e.value)
    if (!words || !e.checkVisibility({ visibilityProperty: true }) || !box.width) continue
    measured++
    const below = backdrop(e)
    const ratio = contrast(over(parse(getComputedStyle(e).color), below), below)
    if (ratio < 4.5) wrong.push(`contrast ${ratio.toFixed(2)}: ${e.outerHTML.slice(0, 100)}`)
    if (box.left < -0.5 || box.right > root.clientWidth + 0.5) wrong.push(`cut off: ${e.outerHTML.slice(0, 100)}`)
  }
  if (measured < 3) wrong.push(`only ${measured} pieces of text found`)

  // WCAG 2.2, 2.5.8: targets of at least 24 by 24 pixels; links in a sentence are exempt.
  for (const e of document.querySelectorAll('button, input:not([type=hidden]), select, summary')) {
    const box = e.getBoundingClientRect()
    if (box.width && (box.width < 24 || box.height < 24)) wrong.push(`small target: ${e.outerHTML.slice(0, 100)}`)
  }
  return wrong
})()
