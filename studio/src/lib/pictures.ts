// Pictures that a person gives: read from a file or an address, made small enough to send.
import { ApiError } from "../api/client";
import { t } from "./i18n";

const MOST_SIDE_PX = 1024;

/** A picture as a PNG data: URL, at most 1024 pixels a side. */
export async function readPicture(file: Blob): Promise<string> {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(t("draw.notpicture"));
  });
  const scale = Math.min(1, MOST_SIDE_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/png");
}

/** A picture of the gallery, to begin from. */
export async function fetchPicture(url: string): Promise<string> {
  const response = await fetch(url);
  if (!response.ok) throw new ApiError(t("draw.gone"), response.status);
  return readPicture(await response.blob());
}
