// The list of songs that this browser keeps. Names stay here; the server never learns
// them. All tabs share the list, so each change starts from the list as it is stored.

const KEY = "harmony_split songs";

export const storedSongs = () => JSON.parse(localStorage.getItem(KEY) ?? "[]");

const store = (songs) => localStorage.setItem(KEY, JSON.stringify(songs));

const without = (id) => storedSongs().filter((song) => song.id !== id);

export function remember({ id, name, size, type, seconds }) {
  store([{ id, name, size, type, seconds }, ...without(id)]);
}

export const lengthen = ({ id, seconds }) =>
  store(storedSongs().map((song) => (song.id === id ? { ...song, seconds } : song)));

export const forget = ({ id }) => store(without(id));
