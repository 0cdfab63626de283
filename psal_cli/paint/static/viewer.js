// The picture on the screen: tiles from the server, pan and zoom, the original over it for comparing.

import { headers } from "./api.js";

const OpenSeadragon = window.OpenSeadragon;
const LARGEST = 8; // screen pixels a pixel of the picture
const SHARP = 2; // from here on pixels are shown as squares

function source(picture, tile, layer, versions) {
  const { number, width, height, levels } = picture;
  return {
    width,
    height,
    tileSize: tile,
    tileOverlap: 0,
    minLevel: 0,
    maxLevel: levels,
    getTileUrl: (level, column, row) => {
      const half = levels - level;
      return `/api/pictures/${number}/tiles/${layer}/${half}/${column}/${row}?v=${versions(half, column, row)}`;
    },
  };
}

export class Viewer {
  constructor(element, tile) {
    this.tile = tile;
    this.viewer = OpenSeadragon({
      element,
      drawer: "canvas",
      showNavigationControl: false,
      mouseNavEnabled: false,
      loadTilesWithAjax: true,
      ajaxHeaders: headers,
      visibilityRatio: 0.2,
      minZoomImageRatio: 0.5,
      maxZoomPixelRatio: LARGEST,
      animationTime: 0.25,
      springStiffness: 10,
      immediateRender: true,
      imageLoaderLimit: 6,
      maxImageCacheCount: 200,
      timeout: 120000,
      smoothTileEdgesMinZoom: Infinity,
      keyboardNavEnabled: false,
    });
    this.viewer.innerTracker?.setTracking(false);
    this.view = () => {};
    this.whole = true; // as long as nobody has zoomed or moved: then it fits the window whatever its size
    this.viewer.addHandler("resize", () => {
      if (this.whole && this.image) setTimeout(() => this.viewport.goHome(true));
    });
    for (const event of ["update-viewport", "resize", "open"]) this.viewer.addHandler(event, () => this.#moved());
  }

  clear() {
    this.image = null;
    this.viewer.close();
  }

  open(picture) {
    this.picture = picture;
    this.versions = new Map();
    this.version = picture.version;
    this.original = null;
    return new Promise((resolve, reject) => {
      this.viewer.addOnceHandler("open", () => {
        this.image = this.viewer.world.getItemAt(0);
        this.viewer.viewport.goHome(true);
        this.whole = true;
        resolve();
      });
      this.viewer.addOnceHandler("open-failed", (event) => reject(new Error(event.message)));
      this.viewer.open(source(picture, this.tile, "current", (...place) => this.versions.get(place.join()) ?? picture.version));
    });
  }

  // Loads anew the tiles that show changed parts. boxes: [left, top, width, height] each.
  refresh(boxes, version) {
    this.version = version;
    for (const [left, top, width, height] of boxes) {
      for (let half = 0; half <= this.picture.levels; half += 1) {
        const side = this.tile * 2 ** half;
        for (let column = Math.floor(left / side); column * side < left + width; column += 1) {
          for (let row = Math.floor(top / side); row * side < top + height; row += 1) {
            this.versions.set([half, column, row].join(), version);
            const columns = this.image.tilesMatrix[this.picture.levels - half]?.[column];
            const tile = columns?.[row];
            if (tile?.loaded) tile.unload(true);
            if (tile) delete columns[row];
          }
        }
      }
    }
    this.image._needsUpdate = true;
    this.viewer.world.update(true);
    this.viewer.forceRedraw();
  }

  // The original over the picture: share 0 hides it, 1 shows all of it, between them what is left of that part of the picture.
  showOriginal(share) {
    if (!this.original) {
      if (!share) return;
      this.original = "loading";
      const { number, width, height, levels } = this.picture;
      this.viewer.addTiledImage({
        tileSource: source({ number, width, height, levels }, this.tile, "original", () => 0),
        opacity: 0,
        preload: true,
        success: ({ item }) => {
          this.original = item;
          this.showOriginal(this.share);
        },
      });
    }
    this.share = share;
    if (this.original === "loading") return;
    this.original.setOpacity(share > 0 ? 1 : 0);
    const width = Math.max(Math.round(share * this.picture.width), 1);
    this.original.setClip(share >= 1 ? null : new OpenSeadragon.Rect(0, 0, width, this.picture.height));
    this.viewer.forceRedraw();
  }

  get viewport() {
    return this.viewer.viewport;
  }

  // Screen pixels a pixel of the picture.
  get scale() {
    return this.image ? this.viewport.getZoom(true) * this.viewport.getContainerSize().x / this.picture.width : 1;
  }

  // Where the corner of the picture is on the screen.
  get corner() {
    const point = this.viewport.pixelFromPoint(new OpenSeadragon.Point(0, 0), true);
    return [point.x, point.y];
  }

  toPicture(x, y) {
    const [left, top] = this.corner;
    return [(x - left) / this.scale, (y - top) / this.scale];
  }

  // The colour that is shown at a place of the screen, as #rrggbb; null beside the picture.
  colourAt(x, y) {
    const [column, row] = this.toPicture(x, y);
    if (!this.image || Math.min(column, row) < 0 || column >= this.picture.width || row >= this.picture.height) return null;
    const canvas = this.viewer.drawer.canvas;
    const density = canvas.width / this.viewer.container.clientWidth;
    const [red, green, blue] = canvas.getContext("2d").getImageData(Math.round(x * density), Math.round(y * density), 1, 1).data;
    return `#${[red, green, blue].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
  }

  panBy(x, y) {
    this.whole = false;
    const by = this.viewport.deltaPointsFromPixels(new OpenSeadragon.Point(-x, -y), true);
    this.viewport.panBy(by, true);
    this.viewport.applyConstraints(true);
  }

  zoomBy(factor, x, y, now = false) {
    this.whole = false;
    const at = x === undefined ? undefined : this.viewport.pointFromPixel(new OpenSeadragon.Point(x, y), true);
    this.viewport.zoomBy(factor, at, now);
    this.viewport.applyConstraints(now);
  }

  zoomTo(scale) {
    this.whole = false;
    this.viewport.zoomTo(scale * this.picture.width / this.viewport.getContainerSize().x, undefined, false);
    this.viewport.applyConstraints(false);
  }

  home() {
    this.whole = true;
    this.viewport.goHome(false);
  }

  #moved() {
    if (!this.image || !this.viewport) return;
    this.viewer.drawer.setImageSmoothingEnabled(this.scale < SHARP);
    this.view();
  }
}
